"""Runs whose process is gone: said to have failed, and their places in pools given back.

Belongs here: what a command does before it waits for a pool. Does not belong here: the daemon's own monitoring, which
does the same within seconds where a stack runs (`launcher` answers it).
"""

from __future__ import annotations

import logging

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.launcher.base import WorkerStatus

from orchestration.runs.launcher import PROCESS_TAG, health_of_process

_log = logging.getLogger(__name__)
_UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def bury(instance: DagsterInstance) -> int:
    """Fail every unfinished run of a process of this machine that is gone, and return how many there were.

    Without it a command that was killed would hold its place in the pool for ever where no daemon runs, and the same
    command, started again, would wait for it.
    """
    buried = 0
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        process = run.tags.get(PROCESS_TAG)
        if process is None:
            continue
        health = health_of_process(process)
        if health.status != WorkerStatus.FAILED:
            continue
        _log.warning("run %s: %s", run.run_id, health.msg)
        instance.report_run_failed(run, health.msg)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        buried += 1
    return buried
