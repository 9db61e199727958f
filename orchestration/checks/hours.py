"""Which ingest hours and event hours a check looks at.

Belongs here: from a run's partitions to hours. Does not belong here: checking.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import HOUR, hour_start, parse_hour, scope, scope_of_keys
from resources.raw_store.base import PositionRange

LOOK_BACK = 6
"""A check that is started without a partition looks at the last six hours."""


def partition_keys(context: dg.AssetCheckExecutionContext) -> list[str]:
    """The partitions of the run, or none when it has no partitions."""
    inner = context.op_execution_context
    if not (inner.has_partition_key or inner.has_partition_key_range):
        return []
    return [str(key) for key in inner.partition_keys]


def ingest_hours(context: dg.AssetCheckExecutionContext) -> list[datetime]:
    """The run's ingest hours, or the last few."""
    return [parse_hour(key) for key in partition_keys(context)] or recent_hours(datetime.now(UTC))


def event_scope(context: dg.AssetCheckExecutionContext, networks: list[str]) -> pl.DataFrame:
    """The run's (event hour, network) pairs, or those of the last few hours."""
    keys = partition_keys(context)
    return scope_of_keys(keys) if keys else scope(recent_hours(datetime.now(UTC)), networks)


def recent_hours(now: datetime) -> list[datetime]:
    current = hour_start(now)
    return [current - HOUR * back for back in reversed(range(LOOK_BACK))]


def given_ranges(context: dg.AssetCheckExecutionContext) -> list[PositionRange]:
    """The exact ranges that this run was asked to archive, as its config says; empty when it was given whole hours."""
    config: Any = context.run.run_config
    for key in ("ops", "raw_events", "config", "ranges"):
        config = config.get(key) if isinstance(config, dict) else None
    return [PositionRange(r["topic"], r["partition"], r["start"], r["end"]) for r in config or []]


def period_of(pairs: pl.DataFrame) -> tuple[datetime, datetime]:
    """The event hours that pairs (SCOPE_SCHEMA) lie in, as `[start, end)`."""
    first, last = pairs.select(pl.col("bucket").min().alias("first"), pl.col("bucket").max().alias("last")).row(0)
    return first, last + HOUR
