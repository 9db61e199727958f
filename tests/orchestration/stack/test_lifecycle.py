"""Starting, stopping and crashing, with small processes in place of the heavy ones: supervisord itself is real."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import psutil
import pytest
from pydantic import SecretStr

from orchestration.settings import Settings
from orchestration.stack import leftovers
from orchestration.stack.errors import PortInUseError, ProcessFailedError, StackError
from orchestration.stack.health import HttpReady
from orchestration.stack.lifecycle import StackEvent, down, is_running, up
from orchestration.stack.paths import StackPaths
from orchestration.stack.plan import Phase, ProcessSpec
from orchestration.stack.ports import PortUse
from orchestration.stack.supervisord import Supervisor, running_pid

CHILD_OF_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'http.server', sys.argv[1]])"


def web(name: str, phase: Phase, port: int, *, nested: bool = False) -> ProcessSpec:
    program = ("-c", CHILD_OF_A_CHILD) if nested else ("-m", "http.server")
    return ProcessSpec(
        name=name,
        phase=phase,
        command=(sys.executable, *program, str(port)),
        ready=HttpReady("127.0.0.1", port, "/"),
        port=PortUse(name, port, "TALLY_COLLECTOR_PORT"),
        stop_group=nested,
        start_seconds=60,
    )


class Small:
    """A stack of two: an engine, and a process whose work is done by its child."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.events: list[StackEvent] = []
        self.prepared = 0
        self.specs = [
            web("engine", Phase.ENGINES, settings.clickhouse_port),
            web("server", Phase.DAGSTER, settings.dagster_port, nested=True),
        ]

    def up(self) -> None:
        up(self.settings, self.events.append, specs=self.specs, prepare=self._prepare)

    def down(self) -> int:
        return down(self.settings, self.events.append, specs=self.specs)

    def pids(self) -> dict[str, int | None]:
        return {name: state.pid for name, state in Supervisor(StackPaths(self.settings.home)).states().items()}

    def _prepare(self, _settings: Settings) -> None:
        self.prepared += 1


@pytest.fixture
def small(settings: Settings) -> Small:
    return Small(settings)


def test_up_twice_is_harmless_and_down_leaves_nothing(small: Small, alive: Callable[[list[int]], list[int]]) -> None:
    small.up()
    first = small.pids()
    assert [event.name for event in small.events if event.kind == "ready"] == ["engine", "tables and topics", "server"]
    small.up()
    assert small.pids() == first
    members = [process.pid for process in leftovers.members(small.settings.home)]
    assert len(members) >= 4  # supervisord, engine, server and the server's child

    begun = time.monotonic()
    assert small.down() == 2
    assert time.monotonic() - begun < 40  # 15 s on a machine that has time
    assert alive(members) == []
    assert not is_running(small.settings)
    assert small.down() == 0


def test_a_killed_process_comes_back(small: Small) -> None:
    small.up()
    before = small.pids()["engine"]
    assert before
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while small.pids()["engine"] in {before, None} and time.monotonic() < deadline:
        time.sleep(0.1)
    assert small.pids()["engine"] not in {before, None}
    small.down()


def test_after_supervisord_is_killed_up_starts_cleanly(small: Small) -> None:
    small.up()
    members = leftovers.members(small.settings.home)
    supervisord = running_pid(StackPaths(small.settings.home))
    assert supervisord
    os.kill(supervisord, signal.SIGKILL)
    leftovers.wait_gone([psutil.Process(supervisord)], 5)
    assert not is_running(small.settings)

    small.up()
    assert is_running(small.settings)
    old = {process.pid for process in members}
    assert not old & {pid for pid in small.pids().values() if pid}
    assert all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in members)
    small.down()


def test_down_ends_what_a_killed_supervisord_left(small: Small, alive: Callable[[list[int]], list[int]]) -> None:
    small.up()
    members = [process.pid for process in leftovers.members(small.settings.home)]
    supervisord = running_pid(StackPaths(small.settings.home))
    assert supervisord
    os.kill(supervisord, signal.SIGKILL)
    small.down()
    assert alive(members) == []


def test_a_port_in_use_names_port_holder_and_setting_and_starts_nothing(small: Small) -> None:
    with socket.create_server(("127.0.0.1", small.settings.dagster_port)):
        with pytest.raises(PortInUseError) as caught:
            small.up()
        message = str(caught.value)
        assert f"port {small.settings.dagster_port}" in message
        assert f"pid {os.getpid()}" in message
        assert "TALLY_COLLECTOR_PORT" in message
        assert not is_running(small.settings)


def test_a_process_that_does_not_come_up_shows_its_last_words(small: Small) -> None:
    small.specs[0] = ProcessSpec(
        name="engine",
        phase=Phase.ENGINES,
        command=(sys.executable, "-c", "raise SystemExit('disk is full: 100%')"),
        ready=HttpReady("127.0.0.1", small.settings.clickhouse_port, "/"),
    )
    with pytest.raises(ProcessFailedError, match="engine did not come up") as caught:
        small.up()
    assert "disk is full: 100%" in caught.value.log
    assert caught.value.log_path.endswith("logs/engine.log")
    small.down()


def test_a_running_stack_is_not_taken_over_by_other_settings(small: Small) -> None:
    small.up()
    other = Small(small.settings.model_copy(update={"collector_port": small.settings.collector_port + 1}))
    with pytest.raises(StackError, match="runs with other settings"):
        other.up()
    small.down()


def test_a_deep_home_is_no_trouble_and_no_secret_is_written_into_it(settings: Settings) -> None:
    deep = settings.home.joinpath(*["a-folder-with-a-long-name"] * 5)
    secret = {"write_keys": SecretStr("a=hush"), "clickhouse_url": "http://me:hush@127.0.0.1:1/tally"}
    small = Small(settings.model_copy(update={"home": deep, **secret}))
    small.up()
    assert is_running(small.settings)
    written = [path.read_text(errors="replace") for path in deep.rglob("*") if path.is_file()]
    assert written
    assert not any("hush" in text for text in written)
    small.down()
