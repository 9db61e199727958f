"""What an hour and a day are made of: the published builds of the finer dataset.

Belongs here: finding sources, and saying why a bucket cannot be built yet. Does not belong here: building.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from assets.archive_index import scope_between
from assets.engagement.rollup import SOURCES_SCHEMA
from assets.partitions import DAY, HOUR, SCOPE_SCHEMA
from assets.publishing.seals import newest_seals
from resources.clickhouse import Client

Refused = dict[tuple[object, str], str]


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


def sources_of_days(clickhouse: Client, scope: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
    """The published hours of every (day, network) (SOURCES_SCHEMA), and the days that cannot be built yet.

    A day with archived events in an hour that is not published would be too small: it is refused, and named.
    """
    if scope.is_empty():
        return pl.DataFrame(schema=SOURCES_SCHEMA), {}
    first, last = scope["bucket"].min(), scope["bucket"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise ValueError("the scope has a bucket that is null")
    day = pl.col("source_bucket").dt.truncate("1d").alias("bucket")
    hours = _hours(scope)
    sealed = newest_seals(clickhouse, "engagement_hourly", hours)
    sources = sealed.select(
        "network",
        pl.col("bucket").alias("source_bucket"),
        pl.col("build_id").alias("source_build_id"),
        pl.col("events").alias("source_events"),
        pl.col("checksum").alias("source_checksum"),
        pl.col("sealed_at").alias("source_sealed_at"),
    ).with_columns(day)
    archived = scope_between(clickhouse, first, last + DAY).join(hours, on=["bucket", "network"], how="semi")
    open_hours = archived.join(sealed, on=["bucket", "network"], how="anti")
    refused: Refused = {}
    for hour, network in open_hours.sort("bucket", descending=True).iter_rows():
        refused[hour.replace(hour=0), network] = (
            f"the hour {hour:%H:%M} has archived events and is not sealed; seal from {hour:%Y-%m-%dT%H:%M}Z or earlier"
        )
    return sources.select(list(SOURCES_SCHEMA)), refused


def without(scope: pl.DataFrame, refused: Refused) -> pl.DataFrame:
    """The scope's pairs that were not refused."""
    return scope.join(
        pl.DataFrame(list(refused), schema=SCOPE_SCHEMA, orient="row"), on=["bucket", "network"], how="anti"
    )


def _hours(days: pl.DataFrame) -> pl.DataFrame:
    """The 24 hours of every day."""
    return (
        days.with_columns(
            pl.datetime_ranges("bucket", pl.col("bucket") + DAY, interval=HOUR, closed="left").alias("bucket")
        )
        .explode("bucket")
        .select(pl.col(name).cast(dtype) for name, dtype in SCOPE_SCHEMA.items())
    )


def _pairs(frame: pl.DataFrame) -> list[tuple[object, str]]:
    return [(bucket, network) for bucket, network in frame.select("bucket", "network").iter_rows()]
