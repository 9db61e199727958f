"""Engines that tests of several rooms share: one local ClickHouse process per session, a fresh database per test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

StartClickHouse = Callable[..., tuple[subprocess.Popen[str], str]]


def _start(path: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    """Start the local process on a free port; returns it and its base URL once it answers."""
    command = [sys.executable, "-m", "deploy.local.clickhouse", "--path", str(path), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    line = process.stdout.readline()
    if " on http://" not in line:
        process.kill()
        raise RuntimeError(f"the local ClickHouse did not start: {line!r}, exit code {process.wait()}")
    return process, line.split(" on ")[1].split(",")[0]


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    finally:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def start_clickhouse() -> Iterator[StartClickHouse]:
    """Start more processes, e.g. to kill them: (folder, *arguments, env=…) → (process, base URL).

    All of them end with the test.
    """
    started = []

    def start(path: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
        started.append(_start(path, *arguments, env=env))
        return started[-1]

    yield start
    for process, _ in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL (http://127.0.0.1:port) of a running local ClickHouse process."""
    process, url = _start(tmp_path_factory.mktemp("clickhouse") / "data")
    yield url
    _stop(process)


@pytest.fixture
def clickhouse_url(clickhouse_server: str) -> Iterator[str]:
    """URL of a database that does not exist yet; dropped after the test."""
    from resources.clickhouse import open_clickhouse

    name = f"test_{uuid.uuid4().hex[:12]}"
    yield f"{clickhouse_server}/{name}"
    with open_clickhouse(f"{clickhouse_server}/default") as client:
        client.command(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def clickhouse(clickhouse_url: str) -> Iterator[Client]:
    """A client in a fresh, migrated database."""
    from resources.clickhouse import open_clickhouse
    from resources.clickhouse.migrate import migrate

    migrate(clickhouse_url)
    with open_clickhouse(clickhouse_url) as client:
        yield client
