"""Processes that are killed on purpose, and the account that must come out the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.event_types import TOPICS
from contracts.mapping import load_mapping
from resources.event_log import open_event_log
from resources.event_log.base import EventLog, OffsetRange
from streaming.intake import Submission, admit, new_receipt_id
from streaming.topics import create_topics

_WORKER = """
import json, sys
from pathlib import Path
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker
options = json.loads(sys.argv[1])
run_worker(WorkerConfig(**{**options, "stats_path": Path(options["stats_path"])}))
"""
_COLLECTOR = """
import sys
from streaming.collector.config import CollectorConfig, parse_write_keys
from streaming.collector.main import run_collector
run_collector(CollectorConfig(sys.argv[1], parse_write_keys("demo=secret"), port=int(sys.argv[2]), topic_partitions=2))
"""
_TYPES = ("reaction.added", "ad.clicked", "user.signed_in", "post.created")


class Source:
    """Sends rows and remembers them: the oracle. Every third row comes twice, every tenth is broken."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self.ids: set[str] = set()
        self.actors: set[str] = set()
        self.duplicates = 0
        self.broken = 0
        self._last: dict[str, Any] = {}

    def send(self, count: int) -> None:
        rows: list[bytes] = []
        for number in range(count):
            row = {
                "event_id": str(uuid.uuid4()),
                "type": _TYPES[number % 4],
                "actor": f"actor-{number % 37}",
                "object": f"object-{number % 11}",
                "topics": ["news"],
                "occurred_at": f"2026-0{1 + number % 9}-01T10:00:{number % 60:02}Z",
            }
            rows.append(json.dumps(row).encode())
            self.ids.add(row["event_id"])
            self.actors.add(row["actor"])
            if number % 3 == 0:
                rows.append(json.dumps(self._last or row).encode())
                self.duplicates += 1
                self._last = row
            if number % 10 == 0:
                rows.append(b'{"broken": ')
                self.broken += 1
        submission = Submission(rows, load_mapping("tally"), "demo", datetime.now(UTC), new_receipt_id())
        admit(submission, self._event_log)

    @property
    def expected(self) -> tuple[int, int, int]:
        return len(self.ids), self.duplicates, self.broken


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
def source(event_log: EventLog) -> Source:
    return Source(event_log)


@pytest.fixture
def whole_log(event_log: EventLog) -> Callable[[], list[OffsetRange]]:
    def ranges() -> list[OffsetRange]:
        return [
            OffsetRange(topic, partition, low, high)
            for topic in TOPICS
            for partition, (low, high) in event_log.watermarks(topic).items()
            if high > low
        ]

    return ranges


@pytest.fixture
def start_worker(log_url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a worker process of a group; with `crash_at` it kills itself at that place."""
    started: list[subprocess.Popen[bytes]] = []

    def start(group: str, clickhouse_url: str = "", crash_at: str = "", **options: Any) -> subprocess.Popen[bytes]:
        config = {
            "group": group,
            "event_log_url": log_url,
            "raw_store_url": f"sqlite:///{tmp_path}/raw.db",
            "clickhouse_url": clickhouse_url,
            "member_id": f"{group}-worker",
            "topic_partitions": 2,
            "linger": 0.02,
            "stats_path": str(tmp_path / f"{group}.json"),
            **options,
        }
        environment = {**os.environ, "TALLY_CRASH_AT": crash_at}
        process = subprocess.Popen([sys.executable, "-c", _WORKER, json.dumps(config)], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def killed() -> Callable[[subprocess.Popen[bytes]], None]:
    """Wait until a process has killed itself."""

    def wait(process: subprocess.Popen[bytes]) -> None:
        assert process.wait(timeout=30) == -signal.SIGKILL

    return wait


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail after some seconds."""

    def wait(condition: Callable[[], object], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture
def collector_command() -> Callable[[str], list[str]]:
    """(URL of the log) → the command line of a collector, its port to be added."""
    return lambda url: [sys.executable, "-c", _COLLECTOR, url]


@pytest.fixture
def start_collector(
    log_url: str, collector_command: Callable[[str], list[str]]
) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], httpx.Client]]]:
    """Start a collector process; returns it and a client with a write key."""
    started: list[subprocess.Popen[bytes]] = []

    def start(crash_at: str = "") -> tuple[subprocess.Popen[bytes], httpx.Client]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {**os.environ, "TALLY_CRASH_AT": crash_at}
        process = subprocess.Popen([*collector_command(log_url), str(port)], env=environment)
        started.append(process)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-Write-Key": "secret"}, timeout=20)
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.get("/readyz").status_code == 200:
                    return process, client
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "the collector did not start"
            time.sleep(0.05)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
