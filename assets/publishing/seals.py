"""Read and write `seals`: which build of a (dataset, bucket, network) readers see.

Belongs here: the newest seal, the first seal, and the one insert that publishes. Does not belong here: build contents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID, uuid4

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from resources.clickhouse import Client, insert_frame, query_frame

Dataset = Literal[
    "connector_slices", "engagement_hourly", "engagement_daily", "sessions", "ads", "ad_returns", "trends"
]

HOURLY: frozenset[Dataset] = frozenset({"connector_slices", "engagement_hourly"})
"""Datasets sealed by hour; the others are sealed by UTC day."""

NO_BUILD = str(UUID(int=0))
"""What stands for "there was no build before"."""

SEAL_SCHEMA = {
    **SCOPE_SCHEMA,
    "build_id": pl.String(),
    "rows": pl.UInt64(),
    "events": pl.UInt64(),
    "checksum": pl.UInt64(),
    "sealed_at": pl.Datetime("us", "UTC"),
    "first_sealed_at": pl.Datetime("us", "UTC"),
}
"""The newest seal per (bucket, network), and when the pair was sealed for the first time."""

_NEWEST = """
SELECT
    bucket,
    network,
    toString(argMax(build_id, sealed_at)) AS build_id,
    argMax(rows, sealed_at) AS rows,
    argMax(events, sealed_at) AS events,
    argMax(checksum, sealed_at) AS checksum,
    max(sealed_at) AS newest_at,
    min(sealed_at) AS first_at
FROM seals
WHERE dataset = {dataset:String}
    AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
GROUP BY bucket, network
"""


def newest_seals(clickhouse: Client, dataset: Dataset, scope: pl.DataFrame) -> pl.DataFrame:
    """The newest seals (SEAL_SCHEMA) of the scope's pairs; a pair never sealed is absent."""
    if scope.is_empty():
        return pl.DataFrame(schema=SEAL_SCHEMA)
    parameters = {"dataset": dataset, **bounds(scope)}
    found = query_frame(clickhouse, _NEWEST, parameters)
    found = found.rename({"newest_at": "sealed_at", "first_at": "first_sealed_at"})
    return conform(found, SEAL_SCHEMA).join(scope.unique(), on=["bucket", "network"], how="semi")


@dataclass(frozen=True, slots=True)
class Build:
    """One attempt to seal: what it makes, its id, why, and in which run."""

    dataset: Dataset
    cause: str
    run_id: str
    id: str = field(default_factory=lambda: str(uuid4()))


def publish(clickhouse: Client, build: Build, builds: pl.DataFrame) -> int:
    """Let readers see the build for these pairs, all at the same instant; return the number of pairs.

    builds: SCOPE_SCHEMA with `rows, events, checksum, previous_build_id`. One insert of one block is atomic, so there
    is no moment at which one pair is new and another is old.
    """
    if builds.is_empty():
        return 0
    seals = builds.select(
        pl.lit(build.dataset).alias("dataset"),
        "bucket",
        "network",
        pl.lit(build.id).alias("build_id"),
        "previous_build_id",
        pl.col("rows", "events", "checksum").cast(pl.UInt64),
        pl.lit(build.cause).alias("cause"),
        pl.lit(build.run_id).alias("run_id"),
    )
    insert_frame(clickhouse, "seals", seals, token=f"seal/{build.dataset}/{build.id}")
    return seals.height


def bounds(scope: pl.DataFrame) -> dict[str, int]:
    """First and last bucket of a scope that is not empty, as seconds since the epoch: `from_s`, `to_s`."""
    buckets = scope["bucket"].dt.epoch("s")
    first, last = buckets.min(), buckets.max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise ValueError("the scope is empty")
    return {"from_s": first, "to_s": last}


def conform(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """The frame with exactly these columns and dtypes. ClickHouse's DateTime comes as seconds since the epoch."""
    columns = []
    for name, dtype in schema.items():
        column = pl.col(name)
        if frame.schema[name].is_integer() and dtype.is_temporal():
            column = pl.from_epoch(column.cast(pl.Int64), "s").dt.replace_time_zone("UTC")
        columns.append(column.cast(dtype))
    return frame.select(columns)
