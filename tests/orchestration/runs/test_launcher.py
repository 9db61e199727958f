"""A run whose process is gone is found; one that lives, or that cannot be asked for now, is left alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration.runs.launcher import PROCESS_TAG, TallyRunLauncher, this_process


@pytest.fixture
def health(instance: dg.DagsterInstance) -> Callable[[dict[str, str]], WorkerStatus]:
    launcher = TallyRunLauncher()
    launcher.register_instance(instance)

    @dg.job
    def some_job() -> None: ...

    def ask(tags: dict[str, str]) -> WorkerStatus:
        run = instance.create_run_for_job(some_job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        return launcher.check_run_worker_health(run).status

    return ask


def test_a_command_that_lives_and_one_that_was_killed(health: Callable[[dict[str, str]], WorkerStatus]) -> None:
    assert health(this_process()) == WorkerStatus.RUNNING
    code = (
        "from orchestration.runs.launcher import this_process\n"
        "print(this_process()['tally/process'], flush=True)\n"
        "input()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    tag = {PROCESS_TAG: child.stdout.readline().strip()}
    assert health(tag) == WorkerStatus.RUNNING
    child.kill()
    child.communicate()
    assert health(tag) == WorkerStatus.FAILED
    elsewhere = {PROCESS_TAG: "another-host:1:1"}
    assert health(elsewhere) == WorkerStatus.RUNNING


def test_a_code_server_that_does_not_answer_is_asked_again_later(
    health: Callable[[dict[str, str]], WorkerStatus],
) -> None:
    assert health({GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": 1})}) == WorkerStatus.RUNNING


def test_a_code_server_that_does_not_know_the_run(
    health: Callable[[dict[str, str]], WorkerStatus], tmp_path: Path
) -> None:
    (tmp_path / "empty.py").write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-f", "empty.py", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        assert health({GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}) == WorkerStatus.FAILED
    finally:
        server.kill()
        server.wait()
