"""A run launcher that notices when the process of a run is gone.

Belongs here: asking whether a run still lives. Does not belong here: starting runs (Dagster's default launcher does).

Dagster's default launcher cannot tell: a run whose code server was killed with it stays "started", holds its pool and
its place in the queue until its maximal runtime is over, an hour for a sealing. With this one the daemon's monitoring
finds out within seconds, marks the run as failed, and `run_retries` starts it again; every run is harmless to repeat.
"""

from __future__ import annotations

import os
import socket

import psutil
from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

PROCESS_TAG = "tally/process"
"""Tag of a run that a command executes in its own process: `host:pid:start time`."""


def this_process() -> dict[str, str]:
    """The tag for a run that this process executes itself."""
    started = int(psutil.Process().create_time())
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}:{started}"}


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, with an answer to `check_run_worker_health`."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that started the run, or look for the process of the command that runs it."""
        process = run.tags.get(PROCESS_TAG)
        if process:
            return _of_process(process)
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "started by something this launcher does not know")
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call] # Dagster's own
        if client is None:
            return CheckRunHealthResult(WorkerStatus.SUCCESS, "finished")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=5)
        except Exception as error:  # whatever the network says: ask again at the next look
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, f"its code server does not answer: {type(error).__name__}"
            )
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was restarted and does not know this run")


def _of_process(named: str) -> CheckRunHealthResult:
    host, pid, started = named.rsplit(":", 2)
    if host != socket.gethostname():
        return CheckRunHealthResult(WorkerStatus.RUNNING, f"runs on {host}")
    try:
        alive = int(psutil.Process(int(pid)).create_time()) == int(started)
    except psutil.NoSuchProcess:
        alive = False
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"the command that ran it (process {pid}) is gone")
