"""The run-failure sensor: one log line per failed run that says what failed and where to look.

Belongs here: telling. Does not belong here: retrying.
"""

from __future__ import annotations

import logging

import dagster as dg

_log = logging.getLogger("tally.runs")


def build_failure_sensor(*, running: bool) -> dg.SensorDefinition:
    """Logs failures of every code location."""

    @dg.run_failure_sensor(
        name="run_failure_log",
        description="Writes one line per failed run, with job, partition, first cause and run id, to the daemon's log.",
        monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
    )
    def run_failure_log(context: dg.RunFailureSensorContext) -> None:
        line = describe(context.dagster_run, context.failure_event)
        context.log.error(line)
        _log.error(line)

    return run_failure_log


def describe(run: dg.DagsterRun, event: dg.DagsterEvent) -> str:
    """`job raw_events [partition …] failed: message (run 1234abcd)`."""
    partition = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start", "")
    where = f" of {partition}" if partition else ""
    return f"{run.job_name}{where} failed: {(event.message or 'no message').splitlines()[0]} (run {run.run_id})"
