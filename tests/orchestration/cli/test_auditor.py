"""The auditor finds by itself what was changed by hand, says so where people look, and takes it back after a repair."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.auditor import run_auditor
from orchestration.cli.app import app
from orchestration.settings import Settings
from resources.clickhouse import open_clickhouse
from serving.audit.record import open_findings, read_progress


@pytest.fixture
def loaded(stores: Settings, workers: Any, day: Path) -> Settings:
    result = CliRunner().invoke(app, ["ingest", str(day), "--network", "tally", "--no-wait"])
    assert result.exit_code == 0, result.output
    workers()
    return stores


@pytest.fixture
def auditor(loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It runs beside the test, without resting."""
    monkeypatch.setattr("serving.audit.engine.PAUSE", 0.01)
    monkeypatch.setattr("serving.audit.rounds.EVERY", 0.2)
    stop = threading.Event()
    thread = threading.Thread(target=run_auditor, args=(loaded, stop))
    thread.start()
    yield
    stop.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


def eventually(condition: Callable[[], object], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


@pytest.mark.usefixtures("auditor")
def test_a_change_is_found_without_anybody_asking_and_taken_back_after_the_repair(loaded: Settings) -> None:
    client = open_clickhouse(loaded.clickhouse_url)

    def rounds_done() -> bool:
        progress = read_progress(client)
        return progress is not None and progress.round_seconds > 0

    eventually(rounds_done)
    assert open_findings(client).is_empty()
    client.command("ALTER TABLE events UPDATE actor = 'mallory' WHERE log_offset = 5 SETTINGS mutations_sync = 1")
    eventually(lambda: "events" in open_findings(client)["place"].to_list())
    found = open_findings(client).filter(place="events").row(0, named=True)
    assert (found["store"], found["kind"], found["log_offset"]) == ("ClickHouse", "changed", 5)
    assert found["found"] == "'mallory'"
    result = CliRunner().invoke(app, ["repair"])
    assert result.exit_code == 0, result.output
    eventually(lambda: open_findings(client).is_empty())
    eventually(lambda: getattr(read_progress(client), "findings", 1) == 0)


def test_the_process_does_without_dagster() -> None:
    code = "import sys, orchestration.auditor; print(sorted(m for m in sys.modules if m in {'dagster', 'chdb', 'dbt'}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
