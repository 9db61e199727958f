"""Real stores for the tests of streaming: a SQLite log with our topics, a SQLite raw store, rows as our SDK sends."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.event_types import TOPICS
from contracts.mapping import load_mapping
from resources.event_log import open_event_log
from resources.event_log.base import Commit, EventLog, OffsetRange
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange, RawStore
from streaming.intake import Admission, Submission, admit, new_receipt_id
from streaming.sources.files import wait_until_processed
from streaming.topics import create_topics
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker


def make_row(**fields: Any) -> dict[str, Any]:
    """A valid row of our own SDK; `fields` replace or (None) remove its fields."""
    row = {
        "event_id": str(uuid.uuid4()),
        "type": "reaction.added",
        "network": "app",
        "actor": "ada",
        "object": "post-1",
        "occurred_at": "2026-03-01T10:00:00Z",
        "properties": {"emoji": "heart"},
        **fields,
    }
    return {name: value for name, value in row.items() if value is not None}


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return make_row


@pytest.fixture
def log_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def event_log(log_url: str) -> Iterator[EventLog]:
    log = open_event_log(log_url)
    create_topics(log, partitions=2)
    yield log
    log.close()


@pytest.fixture
def raw_store(tmp_path: Path) -> Iterator[RawStore]:
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    store.ensure_schema()
    yield store
    store.close()


@pytest.fixture
def send(event_log: EventLog) -> Callable[..., Admission]:
    """Admit rows (dicts or bytes) as a request would."""

    def run(rows: list[Any], workspace: str = "demo", receipt_id: str = "") -> Admission:
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        receipt_id = receipt_id or new_receipt_id()
        return admit(Submission(lines, load_mapping("tally"), workspace, datetime.now(UTC), receipt_id), event_log)

    return run


@pytest.fixture
def whole_log(event_log: EventLog) -> Callable[[], list[OffsetRange]]:
    """Every message that is in the log now, as ranges."""

    def ranges() -> list[OffsetRange]:
        return [
            OffsetRange(topic, partition, low, high)
            for topic in TOPICS
            for partition, (low, high) in event_log.watermarks(topic).items()
            if high > low
        ]

    return ranges


@pytest.fixture
def verdicts(raw_store: RawStore, whole_log: Callable[[], list[OffsetRange]]) -> Callable[[], tuple[int, int, int]]:
    """Stored, duplicate and quarantined messages of the whole log, as the raw store knows them."""

    def count() -> tuple[int, int, int]:
        counts = raw_store.verdicts([PositionRange(*place) for place in whole_log()]).values()
        return tuple(sum(numbers) for numbers in zip(*counts, strict=True))  # type: ignore[return-value]  # three columns

    return count


@pytest.fixture
def work(
    log_url: str, event_log: EventLog, whole_log: Callable[[], list[OffsetRange]], tmp_path: Path
) -> Callable[..., None]:
    """Run a worker of a group until it has committed the whole log."""

    def run(group: str, clickhouse_url: str = "", **options: Any) -> None:
        with running_worker(worker_config(group, log_url, tmp_path, clickhouse_url, **options)):
            assert wait_until_processed(event_log, [group], whole_log(), timeout=20), f"group {group} did not finish"

    return run


@pytest.fixture
def config_of(log_url: str, tmp_path: Path) -> Callable[..., WorkerConfig]:
    def make(group: str, clickhouse_url: str = "", **options: Any) -> WorkerConfig:
        return worker_config(group, log_url, tmp_path, clickhouse_url, **options)

    return make


@pytest.fixture
def rewind(event_log: EventLog) -> Callable[[str], None]:
    """Set a group back to the beginning, as an operator does who wants everything read again."""

    def run(group: str) -> None:
        consumer = event_log.consumer(group, TOPICS)
        while not consumer.assignment():
            consumer.poll(1, 0.1)
        consumer.commit({place: Commit(0) for place in consumer.assignment()})
        consumer.close()

    return run


@pytest.fixture
def worker() -> Callable[[WorkerConfig], Any]:
    """Context manager: a worker in a thread, stopped and joined at the end."""
    return running_worker


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail after some seconds."""

    def wait(condition: Callable[[], object], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


def worker_config(group: str, log_url: str, folder: Path, clickhouse_url: str, **options: Any) -> WorkerConfig:
    defaults: dict[str, Any] = {
        "raw_store_url": f"sqlite:///{folder}/raw.db",
        "clickhouse_url": clickhouse_url,
        "topic_partitions": 2,
        "linger": 0.02,
        "stats_path": folder / f"{group}.json",
        "stats_interval": 0.05,
    }
    return WorkerConfig(group, log_url, **{**defaults, **options})  # type: ignore[arg-type]  # a literal in each test


@contextmanager
def running_worker(config: WorkerConfig) -> Iterator[threading.Event]:
    stop = threading.Event()
    failure: list[BaseException] = []

    def target() -> None:
        try:
            run_worker(config, stop)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name=f"worker-{config.group}")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(timeout=15)
    assert not thread.is_alive(), "the worker did not stop within 15 s"
    if failure:
        raise failure[0]
