"""Follower readings: averages by readings and by time with their coverage, growth, and where a point comes from.

Belongs here: series of readings of one or many accounts. Does not belong here: fetching them, stores.

Every point says where it comes from. Only observed and imported ones enter averages and growth unless others are asked
for: a number that somebody guessed must not look like one that somebody counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

Provenance = Literal["observed", "imported", "interpolated", "estimated"]
PROVENANCES: tuple[Provenance, ...] = ("observed", "imported", "interpolated", "estimated")
COUNTED: tuple[Provenance, ...] = ("observed", "imported")
"""What enters averages and growth unless asked otherwise."""

READING_SCHEMA: dict[str, pl.DataType] = {
    "account": pl.String(),
    "at": pl.Datetime("ms", "UTC"),
    "followers": pl.Int64(),
    "provenance": pl.String(),
}


def counted(readings: pl.DataFrame, provenances: Sequence[str] = COUNTED) -> pl.DataFrame:
    """The readings of these provenances, by account and time; of several at one instant the first one stands.

    Raises ValueError for a provenance that does not exist.
    """
    unknown = sorted(set(provenances) - set(PROVENANCES))
    if unknown:
        raise ValueError(f"provenance {', '.join(unknown)} is not one of {', '.join(PROVENANCES)}")
    kept = readings.filter(pl.col("provenance").is_in(list(provenances)))
    return kept.unique(["account", "at"], keep="first", maintain_order=True).sort("account", "at")


def averages(
    readings: pl.DataFrame, start: datetime, end: datetime, *, expected_every: timedelta,
    longest_gap: timedelta = timedelta(hours=12), provenances: Sequence[str] = COUNTED,
) -> pl.DataFrame:  # fmt: skip
    """Average followers per account over `[start, end)` (UTC), one row per account with a reading in it.

    `by_readings`: sum / count of readings. `by_time`: the integral over observed time / observed time, where between
    two readings the value changes evenly, and a gap longer than `longest_gap` is not observed (a lone reading is its
    own average). `readings`, `coverage`: readings / expected ones, at most 1. `observed_hours` is under `by_time`.
    """
    mine = counted(readings, provenances).filter((pl.col("at") >= start) & (pl.col("at") < end))
    span = (pl.col("at").shift(-1).over("account") - pl.col("at")).dt.total_milliseconds()
    height = (pl.col("followers") + pl.col("followers").shift(-1).over("account")) / 2
    seen = (span <= longest_gap / timedelta(milliseconds=1)).fill_null(value=False)
    expected = (end - start) / expected_every
    return (
        mine.with_columns(
            span=pl.when(seen).then(span).otherwise(0), area=pl.when(seen).then(span * height).otherwise(0)
        )
        .group_by("account", maintain_order=True)
        .agg(
            by_readings=pl.col("followers").mean(),
            by_time=pl.when(pl.col("span").sum() > 0)
            .then(pl.col("area").sum() / pl.col("span").sum())
            .otherwise(pl.col("followers").mean()),
            readings=pl.len(),
            coverage=pl.min_horizontal(pl.lit(1.0), pl.len() / expected),
            observed_hours=pl.col("span").sum() / 3_600_000,
            provenances=pl.col("provenance").unique().sort(),
        )
    )


def growth(
    readings: pl.DataFrame, start: datetime, end: datetime, provenances: Sequence[str] = COUNTED
) -> pl.DataFrame:
    """Per account: `first` and `last` reading of `[start, end)`, and `rate` = (last - first) / first; first 0: null."""
    mine = counted(readings, provenances).filter((pl.col("at") >= start) & (pl.col("at") < end))
    return (
        mine.group_by("account", maintain_order=True)
        .agg(first=pl.col("followers").first(), last=pl.col("followers").last())
        .with_columns(rate=pl.when(pl.col("first") != 0).then((pl.col("last") - pl.col("first")) / pl.col("first")))
    )


def interpolate(readings: pl.DataFrame, at: Sequence[datetime]) -> pl.DataFrame:
    """Points at these instants between counted readings of each account, rounded, marked `interpolated`.

    Nothing is said before an account's first or after its last reading, and nothing where there is a reading.
    """
    known = counted(readings)
    asked = pl.DataFrame({"at": list(at)}, schema={"at": READING_SCHEMA["at"]}).unique()
    grid = known.select("account").unique().join(asked, how="cross").join(known, on=["account", "at"], how="anti")
    both = pl.concat([known, grid], how="diagonal").sort("account", "at")
    value = pl.col("followers").cast(pl.Float64).interpolate_by("at").over("account")
    return (
        both.with_columns(value.round().cast(pl.Int64).alias("followers"))
        .filter(pl.col("provenance").is_null() & pl.col("followers").is_not_null())
        .with_columns(provenance=pl.lit("interpolated"))
        .select(list(READING_SCHEMA))
    )


def at_each(times: pl.DataFrame, readings: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add `followers_then`: the account's last counted reading at or before the time in `column`; null if none."""
    known = counted(readings).select("account", pl.col("at"), pl.col("followers").alias("followers_then"))
    return (
        times.with_row_index("row")
        .sort(column)
        .join_asof(
            known.sort("at"), left_on=column, right_on="at", by="account", strategy="backward", check_sortedness=False
        )
        .sort("row")
        .drop("row", "at", strict=False)
    )
