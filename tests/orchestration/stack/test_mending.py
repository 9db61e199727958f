"""A repair that is killed leaves no process stopped, and two do not work on one home at once. Supervisord is real."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from orchestration.settings import Settings
from orchestration.stack.errors import StackError
from orchestration.stack.health import HttpReady
from orchestration.stack.lifecycle import down, up
from orchestration.stack.mending import mending, paused, start_abandoned
from orchestration.stack.paths import StackPaths
from orchestration.stack.plan import Phase, ProcessSpec
from orchestration.stack.status import gather
from orchestration.stack.supervisord import ProcessState, Supervisor

HOLDER = """
import sys, time
from pathlib import Path
from orchestration.stack.mending import mending, paused
home = Path(sys.argv[1])
with mending(home, "tally repair"), paused(home, "worker-live"):
    print("stopped", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def stack(settings: Settings) -> Iterator[Settings]:
    """A stack of one process, which bears the live worker's name."""
    port = settings.collector_port
    worker = ProcessSpec(
        name="worker-live",
        phase=Phase.STREAMING,
        command=(sys.executable, "-m", "http.server", str(port)),
        ready=HttpReady("127.0.0.1", port, "/"),
        start_seconds=60,
    )
    up(settings, lambda _event: None, specs=[worker], prepare=lambda _settings: None)
    yield settings
    down(settings, lambda _event: None, specs=[worker])


@pytest.fixture
def holder(stack: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that has stopped the worker and is at work."""
    command = [sys.executable, "-c", HOLDER, str(stack.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        yield process
        process.kill()


def worker(settings: Settings) -> ProcessState:
    return Supervisor(StackPaths(settings.home)).states()["worker-live"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_a_killed_holder_stopped_is_started_again(stack: Settings, holder: subprocess.Popen[str]) -> None:
    assert start_abandoned(stack.home) == []  # its holder lives
    assert worker(stack).gone
    with pytest.raises(StackError, match=rf"tally repair \(pid {holder.pid}, since .*is at work on"):
        mending(stack.home, "tally replay").__enter__()
    holder.send_signal(signal.SIGKILL)  # not waited for: a zombie is dead, too
    wait_until(lambda: any("started again" in problem for problem in gather(stack).problems))
    wait_until(lambda: worker(stack).running)
    assert start_abandoned(stack.home) == []
    with mending(stack.home, "tally replay"):
        pass


def test_the_next_repair_starts_it_too_and_one_that_ends_leaves_no_lease(
    stack: Settings, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    with mending(stack.home, "tally repair"):
        wait_until(lambda: worker(stack).running)
        with paused(stack.home, "worker-live"):
            assert worker(stack).gone
            assert len(StackPaths(stack.home).leases()) == 1
    wait_until(lambda: worker(stack).running)
    assert StackPaths(stack.home).leases() == []
