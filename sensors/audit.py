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
from serving.audit.causes import damaged, named, with_causes
from serving.audit.record import open_findings, read_progress

CHECK_OF_STORE = {
    "event log": ("raw_events", "log_is_whole"),
    "raw store": ("raw_events", "accounting_equation"),
    "archive": ("raw_events", "archive_is_whole"),
    "ClickHouse": ("raw_events", "stores_agree"),
    "slices": ("connector_slices", "slices_equal_archive"),
    "live rollups": ("engagement_hourly", "live_equals_events"),
    "sealed rollups": ("engagement_hourly", "sealed_equals_sources"),
    "seals": ("engagement_hourly", "seals_equal_builds"),
}
"""The check that says of a store, by its name in `audit_findings`, whether it is right."""

_SHOWN = 200
_CAUSES = 5


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
    """One tick. The cursor names, per store, the findings that were reported last; '' stands for none.

    Stores without findings are reported, too, once the auditor has been over all history: then their checks pass.
    """
    reported: dict[str, str] = json.loads(cursor) if cursor else {}
    found = open_findings(clickhouse)
    now = {store: _digest(found.filter(pl.col("store") == store)) for store in CHECK_OF_STORE}
    progress = read_progress(clickhouse)
    unknown = None if progress is not None and progress.round_seconds > 0 else ""
    changed = [store for store, digest in now.items() if digest != reported.get(store, unknown)]
    if not changed:
        return dg.SensorResult(skip_reason=f"{damaged(found).height} findings, all reported", cursor=cursor)
    caused = with_causes(found)
    events = [_evaluation(store, caused.filter(pl.col("store") == store)) for store in changed]
    told = reported | {store: now[store] for store in changed}
    return dg.SensorResult(asset_events=events, cursor=json.dumps(told, sort_keys=True))


def _evaluation(store: str, found: pl.DataFrame) -> dg.AssetCheckEvaluation:
    """`found`: the store's findings with their causes. Rows made from damage elsewhere fail it, too."""
    asset, check = CHECK_OF_STORE[store]
    cause = pl.col("follows_from")
    own = found.filter((cause == "") | cause.str.starts_with(f"{store}: "))
    others = (
        found.filter((cause != "") & ~cause.str.starts_with(f"{store}: ")).group_by(cause, maintain_order=True).len()
    )
    words = [*named(own), *(f"{count:,} rows follow from {what}" for what, count in others.head(_CAUSES).iter_rows())]
    rows = found.filter(cause == "")
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check,
        passed=found.is_empty(),
        description="; ".join(words) or "the auditor has compared all of it and finds nothing",
        metadata={
            "findings": rows.height,
            "following": found.height - rows.height,
            "found": table(found.sort(cause, maintain_order=True).head(_SHOWN)),
            "repair": "tally repair",
        },
    )


def _digest(found: pl.DataFrame) -> str:
    return hashlib.sha256(repr(found.rows()).encode()).hexdigest()[:16] if found.height else ""
