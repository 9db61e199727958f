"""Stores of one's own in a temporary home, with both workers beside the test when it asks for them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.event_types import TOPICS
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, prepare_stores
from resources.event_log.base import OffsetRange
from streaming.sources.files import wait_until_processed
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

Drain = Callable[[], None]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of the command line may see this machine's settings, or write into its folders."""
    for name in [name for name in os.environ if name.startswith(("TALLY_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # commands set it; this has it restored after the test


@pytest.fixture
def stores(clickhouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of ready stores: SQLite log and raw store in the home, a database of the test's own in ClickHouse."""
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", clickhouse_url)
    settings = Settings()
    settings.home.mkdir()
    prepare_stores(settings)
    return settings


@contextmanager
def _workers(settings: Settings) -> Iterator[Drain]:
    stop = threading.Event()
    threads = []
    for group in ("raw", "live"):
        config = WorkerConfig(
            group,  # type: ignore[arg-type]  # one of the two literals
            settings.event_log_url,
            settings.raw_store_url,
            settings.clickhouse_url,
            linger=0.01,
        )
        threads.append(threading.Thread(target=run_worker, args=(config, stop), daemon=True))

    def drain() -> None:
        with event_log(settings) as log:
            marks = [(topic, log.watermarks(topic)) for topic in TOPICS]
            ranges = [OffsetRange(t, p, low, high) for t, places in marks for p, (low, high) in places.items()]
            assert wait_until_processed(log, ["raw", "live"], ranges, timeout=30)

    for thread in threads:
        thread.start()
    try:
        yield drain
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=10)


@pytest.fixture
def workers(stores: Settings) -> Iterator[Drain]:
    """Both workers run; call it to wait until they have stored everything that is in the log."""
    with _workers(stores) as drain:
        yield drain


def event_line(number: int, **fields: object) -> str:
    """One event of our own SDK: three hours of 5 January 2026, seven actors, posts with a topic."""
    event = {
        "event_id": f"01890000-0000-7000-8000-{number:012d}",
        "type": "post.created",
        "network": "app",
        "actor": f"u{number % 7}",
        "topics": ["news"],
        "occurred_at": f"2026-01-05T{number % 3:02d}:{number % 60:02d}:00Z",
    }
    return json.dumps({**event, **fields})


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """300 events, ten of them twice, and two broken rows."""
    lines = [event_line(number) for number in range(300)]
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join([*lines, *lines[:10], '{"event_id": "no', event_line(999, actor="")]))
    return path
