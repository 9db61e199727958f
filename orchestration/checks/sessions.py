"""Checks of sessions: every event of a day in exactly one of them, and live ones the same as sealed ones.

Belongs here: Dagster's side of them. Does not belong here: the SQL (`dbt_project/macros/sessions.sql`).
"""

from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from assets.describe.markdown import cell, table
from assets.networks import NETWORKS
from assets.partitions import DAY, SCOPE_SCHEMA, day_start, scope, scope_of_keys
from assets.publishing.seals import bounds, conform
from orchestration.checks.hours import partition_keys
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.dagster_resources import ClickHouseResource

_DAYS = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64} + 86400, 'UTC')"

LOOK_BACK = 7
"""A check that is started without a partition looks at the last seven days."""


@dg.asset_check(
    asset="sessions",
    name="every_event_in_one_session",
    blocking=True,
    description=(
        "Every event of a sealed day that has an actor or a device is in exactly one session; sessions of one person "
        "do not overlap. When it fails: materialize the day's slices and then its sessions again."
    ),
)
def every_event_in_one_session(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Count events of slices and of sessions, day by day."""
    with closing(clickhouse.open()) as client:
        return verdict_of(session_account(client, _asked(context)), "identified", "in_sessions")


@dg.asset_check(
    asset="sessions",
    name="live_equals_sealed",
    description=(
        "Live and sealed sessions of a day hold the same events, except for what came after sealing or was left out of "
        "slices. When it fails: `tally repair` makes live sessions anew if they do not follow from the live events."
    ),
)
def live_equals_sealed(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Compare session by session."""
    with closing(clickhouse.open()) as client:
        return verdict_of(live_against_sealed(client, _asked(context)), "live_sessions", "sealed_sessions")


SESSION_CHECKS = [every_event_in_one_session, live_equals_sealed]


def session_account(clickhouse: Client, days: pl.DataFrame) -> pl.DataFrame:
    """Per sealed pair of the days (SCOPE_SCHEMA): its events, those in sessions, and the verdict."""
    return _of(query_frame(clickhouse, render("session_account", condition=_DAYS), bounds(days)), days)


def live_against_sealed(clickhouse: Client, days: pl.DataFrame) -> pl.DataFrame:
    """Per sealed pair of the days (SCOPE_SCHEMA): live and sealed sessions, how many differ, and the verdict."""
    return _of(query_frame(clickhouse, render("sessions_live_against_sealed", condition=_DAYS), bounds(days)), days)


def _asked(context: dg.AssetCheckExecutionContext) -> pl.DataFrame:
    keys = partition_keys(context)
    if keys:
        return scope_of_keys(keys)
    today = day_start(datetime.now(UTC))
    return scope([today - DAY * back for back in range(LOOK_BACK)], NETWORKS)


def _of(found: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    times = conform(found, {"bucket": SCOPE_SCHEMA["bucket"]})
    return (
        found.with_columns(times["bucket"]).join(days, on=["bucket", "network"], how="semi").sort("bucket", "network")
    )


def verdict_of(verdicts: pl.DataFrame, left: str, right: str) -> dg.AssetCheckResult:
    """The check's result from days with `verdict`, whose columns `left` and `right` are compared."""
    different = verdicts.filter(pl.col("verdict") == "different")
    named = [
        f"{row['network']} {cell(row['bucket'])}: {left} {row[left]:,}, {right} {row[right]:,}"
        for row in different.head(5).to_dicts()
    ]
    return dg.AssetCheckResult(
        passed=different.is_empty(),
        description="; ".join(named) or None,
        metadata={"days": verdicts.height, "different": different.height, "verdicts": table(verdicts)},
    )
