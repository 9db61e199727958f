"""The first filtering pass: which archived events may enter an aggregate, and why the others may not.

Belongs here: the rule, row by row. Does not belong here: reading or writing.

Every row is judged by itself and by when its bucket was first sealed, never by its neighbours. Therefore
`admit(all) == union(admit(parts))` for any division of the rows, and a rebuild from raw gives the same verdicts.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from contracts.envelope import EARLIEST_EVENT_TIME, FUTURE_TOLERANCE
from contracts.event_types import EVENT_TYPES

LATE_HORIZON = timedelta(days=30)
"""A row received later than this after its bucket was first sealed is kept and counted, and enters no aggregate."""

REASONS = ("no_workspace", "no_network", "unknown_type", "no_time", "too_early", "in_future", "beyond_horizon")
"""Why a row is left out of a slice, in the order in which the rule looks."""

# A number, because polars starts its threads for a literal datetime, and threads do not survive a fork of the importer.
_EARLIEST = pl.lit(round(EARLIEST_EVENT_TIME.timestamp() * 1000)).cast(pl.Datetime("ms", "UTC"))


def judge(events: pl.DataFrame, first_sealed: pl.DataFrame) -> pl.DataFrame:
    """Add a column `left_out`: '' for a row that enters its slice, else one of REASONS.

    events: STORED_SCHEMA. first_sealed: `bucket` (hour), `network`, `first_sealed_at`, a row per pair ever sealed.
    """
    known = first_sealed.select(
        pl.col("bucket").alias("_hour"), "network", pl.col("first_sealed_at").cast(pl.Datetime("ms", "UTC"))
    )
    verdict = (
        pl.when(pl.col("workspace") == "")
        .then(pl.lit("no_workspace"))
        .when(pl.col("network") == "")
        .then(pl.lit("no_network"))
        .when(~pl.col("type").is_in(list(EVENT_TYPES)))
        .then(pl.lit("unknown_type"))
        .when(pl.col("event_time").is_null())
        .then(pl.lit("no_time"))
        .when(pl.col("event_time") < _EARLIEST)
        .then(pl.lit("too_early"))
        .when(pl.col("event_time") > pl.col("received_at") + FUTURE_TOLERANCE)
        .then(pl.lit("in_future"))
        .when(pl.col("received_at") >= pl.col("first_sealed_at") + LATE_HORIZON)
        .then(pl.lit("beyond_horizon"))
        .otherwise(pl.lit(""))
    )
    return (
        events.with_columns(pl.col("event_time").dt.truncate("1h").alias("_hour"))
        .join(known, on=["_hour", "network"], how="left", maintain_order="left")
        .with_columns(verdict.alias("left_out"))
        .drop("_hour", "first_sealed_at")
    )


def admit(events: pl.DataFrame, first_sealed: pl.DataFrame) -> pl.DataFrame:
    """The rows that enter their slice, in the columns of `events`."""
    return judge(events, first_sealed).filter(pl.col("left_out") == "").drop("left_out")
