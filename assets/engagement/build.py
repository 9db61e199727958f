"""`engagement_hourly` and `engagement_daily`: the two rollups, from their sources to their seals.

Belongs here: which sources a build has. Does not belong here: Dagster, SQL (`statements`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl

from assets.engagement.rollup import Rollup, build_rollup
from assets.engagement.sources import Refused, sources_of_days, sources_of_hours, without
from assets.engagement.statements import insert_statement
from assets.publishing.staging import BuildReport
from resources.clickhouse import Client


@cache
def hourly() -> Rollup:
    """Hours from slices."""
    return Rollup("engagement_hourly", insert_statement("engagement_hourly"))


@cache
def daily() -> Rollup:
    """Days from hours."""
    return Rollup("engagement_daily", insert_statement("engagement_daily"))


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
