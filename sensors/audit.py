"""The audit sensor: what the auditor finds turns checks red in the UI, and green again when it is gone.

Belongs here: findings to check evaluations. Does not belong here: auditing; it is done by a process of its own, all the
time, and costs Dagster nothing.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from resources.clickhouse import Client
from resources.dagster_resources import ClickHouseResource
from serving.audit.findings import named
from serving.audit.record import open_findings

CHECK_OF_STORE = {
    "raw store": ("raw_events", "accounting_equation"),
    "archive": ("raw_events", "archive_is_whole"),
    "ClickHouse": ("raw_events", "stores_agree"),
    "slices": ("connector_slices", "slices_equal_archive"),
    "live rollups": ("engagement_hourly", "live_equals_events"),
    "sealed rollups": ("engagement_hourly", "sealed_equals_sources"),
}
"""The check that says of a store, by its name in `audit_findings`, whether it is right."""

_SHOWN = 200


def build_audit_sensor(*, running: bool) -> dg.SensorDefinition:
    """Reports a check's evaluation when what the auditor has open for it changes."""

    @dg.sensor(
        name="audit_sensor",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Turns new and cleared findings of the auditor process into results of the audit's checks.",
        tags={"domain": "operations"},
    )
    def audit_sensor(context: dg.SensorEvaluationContext, clickhouse: ClickHouseResource) -> dg.SensorResult:
        with closing(clickhouse.open()) as client:
            return evaluate(client, context.cursor)

    return audit_sensor


def evaluate(clickhouse: Client, cursor: str | None) -> dg.SensorResult:
    """One tick. The cursor names, per store, the findings that were reported last; '' stands for none."""
    reported: dict[str, str] = json.loads(cursor) if cursor else {}
    found = open_findings(clickhouse)
    now = {store: _digest(found.filter(pl.col("store") == store)) for store in CHECK_OF_STORE}
    changed = [store for store, digest in now.items() if digest != reported.get(store, "")]
    if not changed:
        return dg.SensorResult(skip_reason=f"{found.height} findings, all reported", cursor=cursor)
    events = [_evaluation(store, found.filter(pl.col("store") == store)) for store in changed]
    return dg.SensorResult(asset_events=events, cursor=json.dumps(now, sort_keys=True))


def _evaluation(store: str, found: pl.DataFrame) -> dg.AssetCheckEvaluation:
    asset, check = CHECK_OF_STORE[store]
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check,
        passed=found.is_empty(),
        description="; ".join(named(found)) or "the auditor's findings are gone",
        metadata={"findings": found.height, "found": table(found.head(_SHOWN)), "repair": "tally repair"},
    )


def _digest(found: pl.DataFrame) -> str:
    return hashlib.sha256(repr(found.rows()).encode()).hexdigest()[:16] if found.height else ""
