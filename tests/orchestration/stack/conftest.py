"""Small stacks: real supervisord, real processes, free ports, a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.servers.ports import free_port
from orchestration.settings import Settings
from orchestration.stack import leftovers


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings on free ports; whatever the test leaves running is ended."""
    ports = {
        name: free_port()
        for name in ("clickhouse", "redis", "collector", "api", "dagster", "realtime_grpc", "batch_grpc")
    }
    made = Settings(home=tmp_path / "home", **{f"{name}_port": port for name, port in ports.items()})
    yield made
    leftovers.end(leftovers.members(made.home), grace=1.0)


@pytest.fixture
def alive() -> object:
    """Call with pids: those of them that still run (a zombie does not)."""

    def check(pids: list[int]) -> list[int]:
        found = []
        for pid in pids:
            try:
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
            except psutil.NoSuchProcess:
                continue
        return found

    return check
