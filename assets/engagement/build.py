"""`engagement_hourly` and `engagement_daily`: the two rollups, from their sources to their seals.

Belongs here: the two statements that fill builds. Does not belong here: Dagster.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl

from assets.engagement.rollup import Rollup, build_rollup
from assets.engagement.sources import Refused, sources_of_days, sources_of_hours, without
from assets.publishing.staging import BuildReport
from resources.clickhouse import Client
from resources.clickhouse.sql import render

_COLUMNS = "build_id, bucket, workspace, network, type, dimension, member, events, actors"

_SCOPE = "SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String})"

_SLICES = """
(
    SELECT * FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64} + 3600, 'UTC')
        AND (network, toStartOfHour(event_time), build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)
_HOURS = """
(
    SELECT * FROM engagement_hourly_builds
    WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
        AND (network, bucket, build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)


@cache
def hourly() -> Rollup:
    """Hours from slices: `from_s` and `to_s` are the first and last hour."""
    return Rollup(
        "engagement_hourly",
        _insert("engagement_hourly_builds", "engagement_rollup", _SLICES, "toStartOfHour(event_time)"),
    )


@cache
def daily() -> Rollup:
    """Days from hours: `from_s` and `to_s` are the first and last hour."""
    sql = _insert("engagement_daily_builds", "engagement_merge", _HOURS, "toStartOfDay(bucket, 'UTC')")
    return Rollup("engagement_daily", sql)


def _insert(table: str, macro: str, source: str, bucket: str) -> str:
    select = render(macro, source=source, bucket=bucket)
    head = f"INSERT INTO {table} ({_COLUMNS})"
    return f"{head}\nSELECT toUUID({{build_id:String}}), * FROM ({select})"  # our own texts, no values


def build_hourly(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Roll up the published slices of the scope (event hour × network) and publish what differs."""
    scope = scope.unique(maintain_order=True)
    sources, refused = sources_of_hours(clickhouse, scope)
    return _build(
        clickhouse, hourly(), sources, without(scope, refused), refused, cause=cause, run_id=run_id, force=force
    )


def build_daily(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Merge the published hours of the scope (day × network) and publish what differs."""
    scope = scope.unique(maintain_order=True)
    sources, refused = sources_of_days(clickhouse, scope)
    return _build(
        clickhouse, daily(), sources, without(scope, refused), refused, cause=cause, run_id=run_id, force=force
    )


def _build(
    clickhouse: Client,
    rollup: Rollup,
    sources: pl.DataFrame,
    scope: pl.DataFrame,
    refused: Refused,
    *,
    cause: str,
    run_id: str,
    force: bool,
) -> BuildReport:
    sources = sources.join(scope, on=["bucket", "network"], how="semi")
    report = build_rollup(clickhouse, rollup, sources, scope, cause=cause, run_id=run_id, force=force)
    return replace(report, failed={**refused, **report.failed})
