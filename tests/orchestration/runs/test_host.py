"""Runs in warm workers: executed, interrupted, killed, with the code as it is now."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._serdes import serialize_value

from orchestration.runs import protocol
from orchestration.runs.launcher import HOST_TAG, PROCESS_TAG, TallyRunLauncher, this_process
from orchestration.runs.protocol import RunHostError, ask
from orchestration.settings import PROJECT_ROOT

PATIENCE = 90.0


@dg.op
def write_pid() -> dg.Output[int]:
    return dg.Output(os.getpid(), metadata={"pid": os.getpid()})


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    write_pid()


@dg.op
def sleep_long() -> None:
    time.sleep(600)


@dg.job(executor_def=dg.in_process_executor)
def slow() -> None:
    sleep_long()


@dg.op
def leave() -> None:
    raise SystemExit(3)


@dg.job(executor_def=dg.in_process_executor)
def leaving() -> None:
    leave()


defs = dg.Definitions(jobs=[quick, slow, leaving])


class Runs:
    """A run host of its own, and an instance to run in."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.socket = folder / "host.sock"
        self.instance = instance
        self.launcher = TallyRunLauncher()
        self.launcher.register_instance(instance)
        command = [sys.executable, "-m", "orchestration.runs.host", "--socket", str(self.socket)]
        command += ["--preload", "test_host"]
        self.host = subprocess.Popen(command, cwd=PROJECT_ROOT)

    def ask(self, **request: object) -> dict[str, object]:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask(self.socket, request)
            except RunHostError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def launch(self, job: dg.JobDefinition) -> tuple[str, int]:
        """Launch a run as the launcher does; returns its id and the worker's process id."""
        reconstructable = dg.reconstructable(job)
        run = self.instance.create_run_for_job(
            reconstructable.get_definition(),
            job_code_origin=reconstructable.get_python_origin(),
            status=dg.DagsterRunStatus.STARTING,
        )
        answer = self.ask(launch=run.run_id, instance=serialize_value(self.instance.get_ref()), location="tests")
        process = f"{this_process()[PROCESS_TAG].split(':')[0]}:{answer['pid']}:{answer['started']}"
        self.instance.add_run_tags(run.run_id, {HOST_TAG: str(self.socket), PROCESS_TAG: process})
        return run.run_id, int(str(answer["pid"]))

    def wait(self, run_id: str, *statuses: dg.DagsterRunStatus) -> dg.DagsterRun:
        deadline = time.monotonic() + PATIENCE
        while True:
            run = self.instance.get_run_by_id(run_id)
            assert run
            if run.status in statuses:
                return run
            assert time.monotonic() < deadline, run.status
            time.sleep(0.05)

    def finish(self, run_id: str) -> None:
        self.wait(run_id, dg.DagsterRunStatus.SUCCESS)

    def health(self, run_id: str) -> WorkerStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return self.launcher.check_run_worker_health(run).status


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    # The jobs above are imported by the workers as `test_host`.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT_ROOT), str(Path(__file__).parent)]))
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        made = Runs(tmp_path, instance)
        yield made
        made.host.terminate()
        assert made.host.wait(60) in {0, -signal.SIGKILL}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_runs_follow_each_other_in_one_process_and_a_change_of_our_code_is_seen(runs: Runs) -> None:
    first, pid = runs.launch(quick)
    runs.finish(first)
    until(lambda: runs.ask(ping=True) == {"workers": 1, "idle": 1})
    second, again = runs.launch(quick)
    assert again == pid
    runs.finish(second)
    until(lambda: runs.ask(ping=True) == {"workers": 1, "idle": 1})

    started = Path(f"/proc/{pid}/stat")
    imported = Path(protocol.__file__)
    before = imported.stat()
    try:
        os.utime(imported)
        third, same = runs.launch(quick)
        runs.finish(third)
    finally:
        os.utime(imported, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert same == pid
    if started.exists():  # Linux tells a process's arguments: it was started anew with the run in hand
        assert b"--order" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_run_is_interrupted_and_the_next_one_runs(runs: Runs) -> None:
    run_id, _ = runs.launch(slow)
    runs.wait(run_id, dg.DagsterRunStatus.STARTED)
    until(lambda: runs.instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_START).records)
    assert runs.health(run_id) == WorkerStatus.RUNNING
    assert runs.launcher.terminate(run_id)
    runs.wait(run_id, dg.DagsterRunStatus.CANCELED)
    after, _ = runs.launch(quick)
    runs.finish(after)
    assert not runs.launcher.terminate(run_id), "it is over"


def test_two_runs_at_once_have_two_workers_and_a_killed_one_is_noticed(runs: Runs) -> None:
    victim, pid = runs.launch(slow)
    beside, other = runs.launch(quick)
    assert pid != other
    runs.wait(victim, dg.DagsterRunStatus.STARTED)
    os.kill(pid, signal.SIGKILL)
    until(lambda: runs.health(victim) == WorkerStatus.FAILED)
    runs.finish(beside)
    after, _ = runs.launch(quick)
    runs.finish(after)


def test_a_run_that_leaves_its_process_does_not_take_the_worker_along(runs: Runs) -> None:
    run_id, pid = runs.launch(leaving)
    runs.wait(run_id, dg.DagsterRunStatus.FAILURE)
    until(lambda: runs.ask(ping=True) == {"workers": 1, "idle": 1})
    assert runs.launch(quick)[1] == pid


def test_a_run_of_a_host_that_was_killed_is_watched_by_its_process(runs: Runs) -> None:
    run_id, pid = runs.launch(slow)
    runs.wait(run_id, dg.DagsterRunStatus.STARTED)
    runs.host.kill()
    runs.host.wait()
    assert runs.health(run_id) == WorkerStatus.RUNNING
    os.kill(pid, signal.SIGKILL)
    until(lambda: runs.health(run_id) == WorkerStatus.FAILED)


def test_without_a_host_runs_start_as_dagsters_own(tmp_path: Path) -> None:
    with pytest.raises(RunHostError, match=r"nobody\.sock"):
        ask(tmp_path / "nobody.sock", {"ping": True})


NONSENSE = (
    *(b"", b"\n", b"no json\n", b"[]\n", b"\xff\x00\n", b"[" * 500_000 + b"\n"),
    *(b'{"launch": "x"}\n', b'{"holds": "x"}\n', b'{"holds": [], "pid": {}}\n'),
)


def test_nonsense_on_the_socket_leaves_the_host_as_it_was(runs: Runs) -> None:
    runs.ask(ping=True)
    for nonsense in NONSENSE:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(os.fspath(runs.socket))
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) in {b"", b'{"holds": null}\n'}, nonsense[:50]
    assert runs.ask(ping=True)["idle"] is not None
    assert runs.host.poll() is None
