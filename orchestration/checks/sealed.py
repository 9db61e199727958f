"""Checks of slices and aggregates: each event once, live equals sealed, nothing complete is left unsealed.

Belongs here: Dagster's side of them. Does not belong here: the SQL (`dbt_project/macros/quality.sql`).
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from assets.describe.markdown import cell, table
from assets.dirty import dirty_hours, due
from assets.networks import NETWORKS
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import bounds, conform
from assets.watermark import archive_watermark
from orchestration.checks.hours import event_scope, period_of
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.dagster_resources import ClickHouseResource, EventLogResource
from serving.verify import differences, verify

_SPAN = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')"

_TWICE = """
SELECT bucket, network, toString(workspace) AS workspace, toString(event_id) AS event_id, count() AS times
FROM
(
    SELECT toStartOfHour(event_time) AS bucket, network, workspace, event_id
    FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64} + 3600, 'UTC')
        AND (toStartOfHour(event_time), network, build_id) IN (SELECT bucket, network, build_id FROM (@published))
)
GROUP BY bucket, network, workspace, event_id
HAVING times > 1
ORDER BY times DESC, bucket, event_id
LIMIT 100
"""

UNSEALED_AFTER = timedelta(minutes=30)
"""A complete hour with archived rows that is still not sealed after this is a gap."""


@dg.asset_check(
    asset="connector_slices",
    name="each_event_once",
    blocking=True,
    description=(
        "(workspace, event_id) is unique within every published slice. When it fails: the named events were archived "
        "twice; compact their ingest hours and materialize the slice again."
    ),
)
def each_event_once(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Look for an identity that a published slice of this run holds more than once."""
    pairs = event_scope(context, list(NETWORKS))
    with closing(clickhouse.open()) as client:
        return once_verdict(client, pairs)


@dg.asset_check(
    asset="engagement_hourly",
    name="live_equals_sealed",
    blocking=True,
    description=(
        "The live views and the sealed hour give the same events and distinct actors in every row, except for events "
        "that came after sealing (the next seal takes them) and those that the first pass left out. When it fails: "
        "a store lost or doubled a row; the check stores_agree of the ingest hour names it."
    ),
)
def live_equals_sealed(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Compare both answers for every (hour, network) of this run."""
    pairs = event_scope(context, list(NETWORKS))
    with closing(clickhouse.open()) as client:
        verdicts = live_against_sealed(client, pairs)
        different = verdicts.filter(pl.col("verdict") == "different")
        rows = differing_rows(client, different)
        return dg.AssetCheckResult(
            passed=different.is_empty(),
            description=_different_text(different, rows),
            metadata={
                "pairs": verdicts.height,
                "equal": verdicts.filter(pl.col("verdict") == "equal").height,
                "different": different.height,
                "verdicts": table(verdicts.sort(pl.col("verdict") == "equal", "bucket", "network")),
                "rows": table(rows),
            },
        )


@dg.asset_check(
    asset="engagement_hourly",
    name="hours_are_sealed",
    description=(
        "No complete hour with archived events waits to be sealed for over 30 minutes. When it fails: is "
        "late_data_sensor on? Else run the job `seal` for the named range."
    ),
)
def hours_are_sealed(event_log: EventLogResource, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Find hours that are due and were not taken."""
    now = datetime.now(UTC)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        waiting = due(dirty_hours(client), archive_watermark(log, client, now), now, UNSEALED_AFTER)
        text = None
        if not waiting.is_empty():
            first, last = cell(waiting["bucket"].min()), cell(waiting["bucket"].max())
            networks = ", ".join(waiting["network"].unique().sort())
            text = f"{waiting.height} hours from {first} to {last} are due: {networks}"
        return dg.AssetCheckResult(
            passed=waiting.is_empty(),
            severity=dg.AssetCheckSeverity.WARN,
            description=text,
            metadata={"hours": waiting.height, "waiting": table(waiting)},
        )


SEALED_CHECKS = [each_event_once, live_equals_sealed, hours_are_sealed]


def once_verdict(clickhouse: Client, pairs: pl.DataFrame) -> dg.AssetCheckResult:
    """The result of `each_event_once` for these pairs."""
    twice = repeated_events(clickhouse, pairs)
    return dg.AssetCheckResult(
        passed=twice.is_empty(),
        description=_twice_text(twice),
        metadata={"pairs": pairs.height, "repeated": twice.height, "events": table(twice)},
    )


def repeated_events(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Identities that a published slice of the pairs holds more than once."""
    sql = _TWICE.replace("@published", render("published_builds", dataset="connector_slices", condition=_SPAN))
    return _of(query_frame(clickhouse, sql, bounds(pairs)), pairs)


def live_against_sealed(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """One row per sealed pair with its verdict: equal, late, filtered or different (macro live_against_sealed)."""
    return _of(verify(clickhouse, *period_of(pairs)), pairs)


def differing_rows(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """The rollup rows in which live and sealed differ, of these pairs."""
    if pairs.is_empty():
        return pl.DataFrame()
    return _of(differences(clickhouse, *period_of(pairs)), pairs.select("bucket", "network"))


def _of(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    times = conform(frame, {"bucket": SCOPE_SCHEMA["bucket"]})
    return frame.with_columns(times["bucket"]).join(pairs, on=["bucket", "network"], how="semi")


def _twice_text(twice: pl.DataFrame) -> str | None:
    if twice.is_empty():
        return None
    named = [
        f"{row['network']} {row['bucket']:%Y-%m-%d %H:%M}: event {row['event_id']} of workspace {row['workspace']} is "
        f"there {row['times']} times"
        for row in twice.head(5).to_dicts()
    ]
    return "; ".join(named)


def _different_text(different: pl.DataFrame, rows: pl.DataFrame) -> str | None:
    if different.is_empty():
        return None
    named = [
        f"{row['network']} {row['bucket']:%Y-%m-%d %H:%M}: live {row['live']:,}, sealed {row['sealed']:,}"
        for row in different.head(5).to_dicts()
    ]
    return f"{'; '.join(named)}; {rows.height:,} rollup rows differ"
