"""The jobs, named by intent.

Belongs here: selections, executors, limits. Does not belong here: when they run (`orchestration.schedules`), the job
`seal` (`orchestration.sealing`).

Jobs that follow the stream run in one process: a process per step would cost another 1.2 s and 1.1 CPU-seconds.
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from assets.publishing.maintenance import GRACE, purge_unpublished
from assets.watermark import settled_until
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource

RAW = dg.AssetSelection.assets("raw_events")
HOURS = dg.AssetSelection.assets("connector_slices", "engagement_hourly")
DAYS = dg.AssetSelection.assets("engagement_daily", "ads", "ad_returns", "trends")
SESSIONS = dg.AssetSelection.assets("sessions")

_QUICK = {"dagster/max_runtime": "900"}
_LONG = {"dagster/max_runtime": "3600"}

archive_events = dg.define_asset_job(
    "archive_events",
    selection=RAW.without_checks()
    | dg.AssetSelection.checks(
        dg.AssetCheckKey(dg.AssetKey("raw_events"), "accounting_equation"),
        dg.AssetCheckKey(dg.AssetKey("raw_events"), "archive_is_whole"),
    ),
    description="Archives exact offset ranges and checks their account. The event-log sensor asks for it.",
    executor_def=dg.in_process_executor,
    tags={**_QUICK, "dagster/priority": "10"},
)
close_ingest_hour = dg.define_asset_job(
    "close_ingest_hour",
    selection=RAW,
    description="Archives what an ingest hour still lacks, makes one part of it, and compares all stores.",
    executor_def=dg.in_process_executor,
    tags=_QUICK,
)
seal_hours = dg.define_asset_job(
    "seal_hours",
    selection=HOURS,
    description="Slices and engagement of event hours, for all networks in one run.",
    executor_def=dg.in_process_executor,
    tags=_LONG,
)
seal_days = dg.define_asset_job(
    "seal_days",
    selection=DAYS,
    description="Engagement and facts of days whose hours are sealed.",
    executor_def=dg.in_process_executor,
    tags=_LONG,
)
seal_sessions = dg.define_asset_job(
    "seal_sessions",
    selection=SESSIONS,
    description="Sessions of days whose next day is over.",
    executor_def=dg.in_process_executor,
    tags=_LONG,
)


class MaintenanceConfig(dg.Config):
    """How old something must be to be cleared away."""

    grace_hours: float = Field(default=GRACE.total_seconds() / 3600, description="Age of a build never published")
    keep_runs_days: float = Field(default=7.0, description="Age of a successful archive_events run")
    most_runs: int = Field(default=2000, description="Runs to delete at most, oldest first")


@dg.op(description="Delete builds that were never published, and restatements that came with them.")
def clear_unpublished(
    context: dg.OpExecutionContext, config: MaintenanceConfig, clickhouse: ClickHouseResource
) -> None:
    """Superseded builds stay: they answer `as_of`."""
    with closing(clickhouse.open()) as client:
        purged = purge_unpublished(client, timedelta(hours=config.grace_hours))
    context.add_output_metadata({f"pairs_{dataset}": count for dataset, count in purged.items()})


@dg.op(description="Merge archive parts left apart, and delete objects that no manifest names any more.")
def sweep_archive(context: dg.OpExecutionContext, archive: ArchiveResource) -> None:
    """Safe beside readers: what was replaced stays for ten minutes."""
    context.add_output_metadata({"objects_deleted": archive.open().sweep()})


@dg.op(description="Remove messages past their topic's retention, where the log does not do so by itself.")
def let_log_go(context: dg.OpExecutionContext, event_log: EventLogResource, clickhouse: ClickHouseResource) -> None:
    """A message goes when its retention is over since everything before it was archived and taken by every group."""
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        settled = settled_until(log, client, datetime.now(UTC))
        removed = log.maintain(round(settled.timestamp() * 1000))
    context.add_output_metadata({"messages_removed": removed, "settled_until": settled.isoformat()})


@dg.op(description="Delete old successful runs of the job that runs every few seconds: Dagster keeps runs for ever.")
def prune_runs(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
    """The run that closed an hour is of another job and stays, so the hour stays marked; failed runs stay too."""
    before = datetime.now(UTC) - timedelta(days=config.keep_runs_days)
    old = context.instance.get_run_records(
        dg.RunsFilter(job_name="archive_events", statuses=[dg.DagsterRunStatus.SUCCESS], created_before=before),
        limit=config.most_runs,
        ascending=True,
    )
    for record in old:
        context.instance.delete_run(record.dagster_run.run_id)
    context.add_output_metadata({"runs_deleted": len(old)})


@dg.job(
    name="maintenance",
    description=(
        "Clears away what nothing refers to any more: unpublished builds, archive leftovers, messages past retention, "
        "old runs."
    ),
    executor_def=dg.in_process_executor,
    tags={**_LONG, "dagster/priority": "-10"},
)
def maintenance() -> None:
    """Four ops that do not depend on each other."""
    clear_unpublished()
    sweep_archive()
    let_log_go()
    prune_runs()
