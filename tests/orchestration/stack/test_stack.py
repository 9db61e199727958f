"""The whole stack, as `tally up` starts it: events in, account balanced, killed and back again, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.settings import Settings
from orchestration.stack import leftovers
from orchestration.stack.paths import StackPaths
from orchestration.stack.supervisord import Supervisor, running_pid

GB = 1024**3


class Tally:
    """The command line in processes of its own, as a person uses it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._environment = {**os.environ, **settings.environment(), "NO_COLOR": "1"}

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *arguments, "--json"],
            env=self._environment, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def pid(self, name: str) -> int | None:
        return Supervisor(StackPaths(self.settings.home)).states()[name].pid


@pytest.fixture
def tally(settings: Settings) -> Iterator[Tally]:
    made = Tally(settings)
    yield made
    leftovers.end(leftovers.members(settings.home), grace=3.0)


def rows(path: Path, count: int) -> Path:
    """Events of three hours of a day long past, and one broken row."""
    lines = [
        json.dumps(
            {
                "event_id": f"01890000-0000-7000-8000-{number:012d}",
                "type": "post.created",
                "network": "app",
                "actor": f"u{number % 7}",
                "occurred_at": f"2026-01-05T{number % 3:02d}:{number % 60:02d}:00Z",
            }
        )
        for number in range(count)
    ]
    path.write_text("\n".join([*lines, '{"event_id": "no']))
    return path


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_stack_survives_kills_and_leaves_nothing(tally: Tally, tmp_path: Path) -> None:
    home = tally.settings.home
    started = tally("up")
    assert started["urls"]["Collector"].endswith(str(tally.settings.collector_port))

    file = rows(tmp_path / "day.ndjson", 600)
    account = tally("ingest", str(file), "--network", "tally")
    assert (account["read"], account["stored"], account["duplicate"]) == (601, 600, 0)
    assert account["reasons"] == {"not_json": 1}
    assert account["balanced"] is True
    answer = tally("query", "events", "--by", "network", "--grain", "day")
    assert [(row["network"], row["value"]) for row in answer["rows"]] == [("app", 600)]

    status = tally("status")
    assert {process["state"] for process in status["processes"]} == {"RUNNING"}
    assert status["memory"] < 2.5 * GB
    assert {lag["group"]: lag["messages"] for lag in status["lag"]} == {"raw": 0, "live": 0}
    assert status["quarantine_open"] == 1

    worker = tally.pid("worker-live")
    assert worker
    os.kill(worker, signal.SIGKILL)
    again = tally("ingest", str(file), "--network", "tally")
    assert (again["stored"], again["duplicate"]) == (0, 600)
    assert tally("ledger")["balanced"] is True
    assert tally.pid("worker-live") not in {worker, None}

    supervisord = running_pid(StackPaths(home))
    assert supervisord
    os.kill(supervisord, signal.SIGKILL)
    leftovers.wait_gone([psutil.Process(supervisord)], 5)
    tally("status", code=3)
    tally("up")
    assert tally("ledger")["balanced"] is True
    assert tally("query", "events", "--grain", "day")["rows"][0]["value"] == 600

    members = leftovers.members(home)
    begun = time.monotonic()
    tally("down")
    assert time.monotonic() - begun < 60  # 15 s and the command's own start, on a machine that has time
    assert leftovers.wait_gone(members, 0) == []
    assert leftovers.members(home) == []
