"""Windows over event time: tumbling, sliding and session windows, and what a late event is.

Belongs here: which windows an event is in, and whether it came in time. Does not belong here: time zones (`serving`
cuts local days when asked), what is counted in a window, sessions of people (`analytics.sessions`).

Windows are `[start, end)` in UTC and aligned to 1970-01-01 00:00. Formulas: docs/definitions.md, "Time and identity".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

ON_TIME, LATE, BEYOND_HORIZON = "on_time", "late", "beyond_horizon"


def tumbling(events: pl.DataFrame, size: timedelta, *, at: str = "event_time") -> pl.DataFrame:
    """Add `window_start` and `window_end`: the one window of `size` that holds each event.

    events: any columns, `at` of them a UTC time in milliseconds or microseconds. Raises ValueError for a size of 0.
    """
    return sliding(events, size, size, at=at)


def sliding(events: pl.DataFrame, size: timedelta, every: timedelta, *, at: str = "event_time") -> pl.DataFrame:
    """Add `window_start` and `window_end`: one row per event and window of `size` that holds it.

    Windows start at whole multiples of `every`, and `size` is a whole multiple of it, so that every event is in exactly
    `size / every` of them. Raises ValueError where it is not.
    """
    if every <= timedelta(0) or size < every or size % every:
        raise ValueError(f"a window of {size} cannot slide by {every}: the size must be a whole multiple of it")
    last = pl.col(at).dt.truncate(every)
    windows = [last - every * number for number in reversed(range(size // every))]
    return (
        events.with_columns(pl.concat_list(windows).alias("window_start"))
        .explode("window_start", empty_as_null=True)
        .with_columns((pl.col("window_start") + size).alias("window_end"))
    )


def session_windows(events: pl.DataFrame, gap: timedelta, by: Sequence[str], *, at: str = "event_time") -> pl.DataFrame:
    """Add `window_start` and `window_end`: the run of events of one key whose gaps are all shorter than `gap`.

    A gap of exactly `gap` splits. `window_end` is the last event plus `gap`: an event from then on is in the next one.
    The order of rows is kept.
    """
    before = pl.col(at).shift(1).over(by)
    window = pl.col("_first").cum_sum().over(by)
    return (
        events.with_row_index("_row")
        .sort(*by, at)
        .with_columns((before.is_null() | (pl.col(at) - before >= gap)).alias("_first"))
        .with_columns(window.alias("_window"))
        .with_columns(
            pl.col(at).min().over([*by, "_window"]).alias("window_start"),
            (pl.col(at).max().over([*by, "_window"]) + gap).alias("window_end"),
        )
        .sort("_row")
        .drop("_row", "_first", "_window")
    )


def arrivals(
    events: pl.DataFrame,
    size: timedelta,
    *,
    lateness: timedelta,
    horizon: timedelta,
    at: str = "event_time",
) -> pl.DataFrame:
    """Add `watermark` and `arrival` to events in the order in which they came.

    `watermark` is the largest event time taken before the event (null for the first). The event's tumbling window of
    `size` is closed when the watermark has reached its end plus `lateness`. `arrival` is `on_time` while it is open,
    `late` when it is closed (the window is taken up again: a restatement), `beyond_horizon` when the watermark has
    reached the window's end plus `horizon` (kept and counted, in no window).
    """
    watermark = pl.col(at).cum_max().shift(1)
    end = pl.col(at).dt.truncate(size) + size
    return events.with_columns(watermark.alias("watermark")).with_columns(
        pl.when(pl.col("watermark") >= end + max(lateness, horizon))
        .then(pl.lit(BEYOND_HORIZON))
        .when(pl.col("watermark") >= end + lateness)
        .then(pl.lit(LATE))
        .otherwise(pl.lit(ON_TIME))
        .alias("arrival")
    )
