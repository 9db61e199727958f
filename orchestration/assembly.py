"""One function that puts Definitions together, for production, for the command line and for tests.

Belongs here: which asset, check, job, schedule and sensor is in which code location. Does not belong here: any of them.

Two code locations: `realtime` follows the stream and must start fast, so it imports neither dbt nor any engine; `batch`
has the rest. A run's process pays for what its location imports: two seconds of one core per run with the lean one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg

from orchestration.settings import Settings
from orchestration.stores import environment_resources

Location = Literal["realtime", "batch", "all"]

SENSOR_INTERVAL = 5
"""Seconds from one archiving run to the next while events keep coming; the first after a pause starts at once."""


def automation_on() -> bool:
    """Whether schedules and sensors start by themselves: only in a stack, which sets TALLY_AUTOMATION=on."""
    return os.environ.get("TALLY_AUTOMATION", "").strip().lower() in {"on", "1", "true", "yes"}


def build_definitions(
    location: Location = "all",
    *,
    settings: Settings | None = None,
    resources: Mapping[str, Any] | None = None,
    automation: bool | None = None,
) -> dg.Definitions:
    """Definitions of a code location, or of both merged.

    resources replace those of the settings by name. `automation` (default: TALLY_AUTOMATION) says whether sensors and
    schedules start by themselves; in plain `dagster dev` they wait to be switched on in the UI.
    """
    running = automation_on() if automation is None else automation
    stores = {**environment_resources(settings or Settings()), **(resources or {})}
    parts = []
    if location in {"realtime", "all"}:
        parts.append(_realtime(stores, running))
    if location in {"batch", "all"}:
        parts.append(_batch(stores, running))
    return dg.Definitions.merge(*parts)


def _realtime(stores: Mapping[str, Any], running: bool) -> dg.Definitions:
    from assets.external import EXTERNAL_ASSETS
    from assets.raw_events.asset import raw_events
    from orchestration.checks.raw import RAW_CHECKS
    from orchestration.jobs import archive_events, close_ingest_hour
    from orchestration.schedules import build_close_schedule
    from sensors.audit import build_audit_sensor
    from sensors.event_log import build_event_log_sensor
    from sensors.failures import build_failure_sensor

    interval = int(os.environ.get("TALLY_SENSOR_INTERVAL_SECONDS", SENSOR_INTERVAL))
    return dg.Definitions(
        assets=[*EXTERNAL_ASSETS, raw_events],
        asset_checks=RAW_CHECKS,
        jobs=[archive_events, close_ingest_hour],
        schedules=[build_close_schedule(running=running)],
        sensors=[
            build_event_log_sensor("archive_events", running=running, interval_seconds=interval),
            build_failure_sensor(running=running),
            build_audit_sensor(running=running),
        ],
        resources=dict(stores),
        executor=dg.in_process_executor,
    )


def _batch(stores: Mapping[str, Any], running: bool) -> dg.Definitions:
    from assets.ads.asset import ADS_ASSETS
    from assets.connector_slices.asset import connector_slices
    from assets.dbt import build_dbt_assets
    from assets.engagement.asset import engagement_daily, engagement_hourly
    from assets.external import PUBLICATION_ASSETS
    from assets.sessions.asset import sessions
    from assets.trends.asset import trends
    from orchestration.checks.ads import ADS_CHECKS
    from orchestration.checks.audit import AUDIT_CHECKS
    from orchestration.checks.sealed import SEALED_CHECKS
    from orchestration.checks.sessions import SESSION_CHECKS
    from orchestration.checks.trends import boards_equal_recomputation
    from orchestration.jobs import maintenance, seal_days, seal_hours, seal_sessions
    from orchestration.schedules import build_batch_schedules
    from orchestration.sealing import ProgressResource, seal_job
    from sensors.late_data import build_late_data_sensor

    dbt_marts, dbt = build_dbt_assets()
    build_marts = dg.define_asset_job(
        "build_marts",
        selection=dg.AssetSelection.assets(dbt_marts),
        description="Builds the dbt models over published builds and runs their tests.",
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": "3600"},
    )
    return dg.Definitions(
        assets=[
            connector_slices,
            engagement_hourly,
            engagement_daily,
            *ADS_ASSETS,
            sessions,
            trends,
            *PUBLICATION_ASSETS,
            dbt_marts,
        ],
        asset_checks=[*SEALED_CHECKS, *ADS_CHECKS, *AUDIT_CHECKS, *SESSION_CHECKS, boards_equal_recomputation],
        jobs=[seal_hours, seal_days, seal_sessions, seal_job, build_marts, maintenance],
        schedules=build_batch_schedules(running=running),
        sensors=[build_late_data_sensor("seal", running=running)],
        resources={**stores, "dbt": dbt, "progress": ProgressResource()},
        executor=dg.in_process_executor,
    )
