"""The run launcher: a warm worker for every run if the stack has a run host, and news of runs whose process is gone.

Belongs here: asking the run host, asking whether a run still lives, stopping it. Does not belong here: the workers.

Dagster's default launcher starts an interpreter and imports everything for every run, and it cannot tell that a run's
process is gone: a run whose code server was killed stays "started", holds its pool and its place in the queue until its
maximal runtime is over. With this one the daemon's monitoring finds out within seconds, marks the run as failed, and
`run_retries` starts it again; every run is harmless to repeat. Without a run host runs start as Dagster's default does.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import psutil
from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value

from orchestration.runs.protocol import RunHostError, ask, configured_socket

_log = logging.getLogger(__name__)

PROCESS_TAG = "tally/process"
"""Tag of a run whose process is known, a warm worker or a command that executes it itself: `host:pid:start time`."""
HOST_TAG = "tally/run_host"
"""Tag of a run that a run host gave to a worker: the host's socket."""


def this_process() -> dict[str, str]:
    """The tag for a run that this process executes itself."""
    return {PROCESS_TAG: _name(os.getpid(), int(psutil.Process().create_time()))}


class TallyRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, with warm workers where there are some and an answer to `check_run_worker_health`."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        """Give the run to the run host; without one, to its code location's server."""
        if not self._give_to_run_host(context.dagster_run):
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run as Ctrl-C would; False when it cannot be reached."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or HOST_TAG not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call] # Dagster's own
        self._instance.report_run_canceling(run)
        try:
            return bool(ask(_socket_of(run), {"interrupt": run_id})["interrupted"])
        except RunHostError as error:
            self._instance.report_engine_event(f"Not interrupted: {error}", run, cls=type(self))
            return False

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask whoever has the run: the run host, the code server that started it, or its process itself."""
        process = run.tags.get(PROCESS_TAG)
        if HOST_TAG in run.tags and process:
            return _of_run_host(run, process)
        if process:
            return health_of_process(process)
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "started by something this launcher does not know")
        return self._of_code_server(run)

    def _of_code_server(self, run: DagsterRun) -> CheckRunHealthResult:
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

    def _give_to_run_host(self, run: DagsterRun) -> bool:
        path = configured_socket()
        if path is None or run.remote_job_origin is None:
            return False
        request = {
            "launch": run.run_id,
            "instance": serialize_value(self._instance.get_ref()),
            "location": run.remote_job_origin.location_name,
        }
        try:
            answer = ask(path, request)
        except RunHostError as error:
            _log.warning("run %s is started the slow way: %s", run.run_id, error)
            return False
        if "refused" in answer:
            _log.warning("run %s is started the slow way: %s", run.run_id, answer["refused"])
            return False
        process = _name(int(answer["pid"]), int(answer["started"]))
        self._instance.add_run_tags(run.run_id, {HOST_TAG: os.fspath(path), PROCESS_TAG: process})
        return True


def _socket_of(run: DagsterRun) -> Path:
    return Path(run.tags[HOST_TAG])


def _name(pid: int, started: int) -> str:
    return f"{socket.gethostname()}:{pid}:{started}"


def _of_run_host(run: DagsterRun, process: str) -> CheckRunHealthResult:
    """A worker outlives its runs, so its process says something only when its host is gone."""
    try:
        held = ask(_socket_of(run), {"holds": run.run_id, "pid": int(process.split(":")[1])})["holds"]
    except RunHostError:
        held = None
    if held is None:
        return health_of_process(process)
    if held:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, "no worker of the run host has it any more")


def health_of_process(named: str) -> CheckRunHealthResult:
    """Whether the process that a PROCESS_TAG names still lives; FAILED when it is gone from this machine."""
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
