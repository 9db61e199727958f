"""What an hour and a day are made of: the published builds of the finer dataset; and which days they have outrun.

Belongs here: finding sources, and saying why a bucket cannot be built yet. Does not belong here: building.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from assets.archive_index import scope_between
from assets.partitions import DAY, HOUR, SCOPE_SCHEMA
from assets.publishing.build import SOURCES_SCHEMA
from assets.publishing.seals import Dataset, newest_seals
from resources.clickhouse import Client

Refused = dict[tuple[object, str], str]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far beyond its own hours a day looks: whole hours of the days before and after."""

    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)


NO_REACH = Reach()


def sources_of_hours(clickhouse: Client, scope: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
    """The published slice of every pair (SOURCES_SCHEMA), and the pairs that have none, with the reason."""
    slices = newest_seals(clickhouse, "connector_slices", scope)
    sources = slices.select(
        "bucket",
        "network",
        pl.col("bucket").alias("source_bucket"),
        pl.col("build_id").alias("source_build_id"),
        pl.col("rows").alias("source_events"),
        pl.col("checksum").alias("source_checksum"),
        pl.col("sealed_at").alias("source_sealed_at"),
    )
    without = scope.join(slices, on=["bucket", "network"], how="anti")
    return sources.select(list(SOURCES_SCHEMA)), dict.fromkeys(_pairs(without), "its slice is not published")


def sources_of_days(
    clickhouse: Client, scope: pl.DataFrame, finer: Dataset = "engagement_hourly", reach: Reach = NO_REACH
) -> tuple[pl.DataFrame, Refused]:
    """The published hours of every (day, network) and its reach (SOURCES_SCHEMA), and the days that must wait.

    A day with archived events in an hour of its own that is not published would be too small: refused, and named.
    """
    if scope.is_empty():
        return pl.DataFrame(schema=SOURCES_SCHEMA), {}
    hours = _hours(scope, reach)
    pairs = hours.select(pl.col("source_bucket").alias("bucket"), "network").unique(maintain_order=True)
    sealed = newest_seals(clickhouse, finer, pairs).select(
        "network",
        pl.col("bucket").alias("source_bucket"),
        pl.col("build_id").alias("source_build_id"),
        pl.col("rows" if finer == "connector_slices" else "events").alias("source_events"),
        pl.col("checksum").alias("source_checksum"),
        pl.col("sealed_at").alias("source_sealed_at"),
    )
    sources = hours.join(sealed, on=["source_bucket", "network"], maintain_order="left")
    first, last = scope["bucket"].min(), scope["bucket"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise ValueError("the scope has a bucket that is null")
    archived = scope_between(clickhouse, first, last + DAY).rename({"bucket": "source_bucket"})
    own = _hours(scope, NO_REACH).join(archived, on=["source_bucket", "network"], how="semi")
    open_hours = own.join(sealed, on=["source_bucket", "network"], how="anti")
    refused: Refused = {}
    for day, network, hour in open_hours.sort("source_bucket", descending=True).iter_rows():
        refused[day, network] = (
            f"the hour {hour:%H:%M} has archived events and is not sealed; seal from {hour:%Y-%m-%dT%H:%M}Z or earlier"
        )
    return sources.select(list(SOURCES_SCHEMA)), refused


def stale_days(
    clickhouse: Client, dataset: Dataset, days: pl.DataFrame, finer: Dataset, reach: Reach = NO_REACH
) -> pl.DataFrame:
    """The days (SCOPE_SCHEMA) whose published build is missing or older than one of the hours it is made of."""
    if days.is_empty():
        return days
    hours = _hours(days, reach)
    pairs = hours.select(pl.col("source_bucket").alias("bucket"), "network").unique(maintain_order=True)
    sealed = newest_seals(clickhouse, finer, pairs).select(
        pl.col("bucket").alias("source_bucket"), "network", pl.col("sealed_at").alias("hours_at")
    )
    newest = (
        hours.join(sealed, on=["source_bucket", "network"]).group_by("bucket", "network").agg(pl.col("hours_at").max())
    )
    published = newest_seals(clickhouse, dataset, days)
    fresh = published.join(newest, on=["bucket", "network"]).filter(pl.col("sealed_at") >= pl.col("hours_at"))
    return days.join(fresh, on=["bucket", "network"], how="anti").select(list(SCOPE_SCHEMA))


def without(scope: pl.DataFrame, refused: Refused) -> pl.DataFrame:
    """The scope's pairs that were not refused."""
    return scope.join(
        pl.DataFrame(list(refused), schema=SCOPE_SCHEMA, orient="row"), on=["bucket", "network"], how="anti"
    )


def _hours(days: pl.DataFrame, reach: Reach) -> pl.DataFrame:
    """The hours of every day and of its reach: SCOPE_SCHEMA with `source_bucket`."""
    first, last = pl.col("bucket") - reach.before, pl.col("bucket") + DAY + reach.after
    return (
        days.select("bucket", "network")
        .with_columns(pl.datetime_ranges(first, last, interval=HOUR, closed="left").alias("source_bucket"))
        .explode("source_bucket")
        .with_columns(pl.col("bucket", "source_bucket").cast(SCOPE_SCHEMA["bucket"]))
    )


def _pairs(frame: pl.DataFrame) -> list[tuple[object, str]]:
    return [(bucket, network) for bucket, network in frame.select("bucket", "network").iter_rows()]
