"""The real Kafka broker → the live worker → ClickHouse, every event stored; and three limits in the same run.

Broker and rows are the same for all: bare Arrow insert into the same tables and views, the SQLite log as the source in
Kafka's place, and PyFlink computing the aggregates alone. The worker is the stack's own process; its clock starts when
it says that it runs (before its first message) and ends when all is committed and asked for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flink_environment
import kafka_rows
import polars as pl
import pytest

from contracts.event_types import TOPICS
from deploy.servers import kafka
from deploy.servers.process import dies_with_parent
from orchestration.settings import Settings
from orchestration.stack.paths import StackPaths
from orchestration.stack.plan import plan
from resources.clickhouse import insert_frame, open_clickhouse
from resources.clickhouse.migrate import migrate
from resources.event_log import open_event_log
from resources.event_log.base import EventLog, OffsetRange
from streaming.sources.files import wait_until_processed
from streaming.topics import create_topics
from streaming.worker.batch import batch_of
from streaming.worker.decode import decode_batch
from streaming.worker.stats import read_stats

COPIES = 6
SQLITE_COPIES = 2  # its rate does not depend on their number, and it is the slower one
SECONDS = 600
FEWEST = 1_000_000  # rows below which a job's fixed costs, seconds of Flink's, say more than its rate

_PER_MINUTE = """
SELECT toUnixTimestamp(bucket), toString(type), sum(events), uniqExactMerge(actors)
FROM live_engagement_minute WHERE dimension = 'all' GROUP BY bucket, type ORDER BY 1, 2
"""
_PRINTED = re.compile(r"\+I\[(\S+), (\S+), (\d+), (\d+)\]")

Counts = list[tuple[int, str, int, int]]
"""(minute as seconds since the epoch, type, events, distinct actors), in that order."""


@dataclass(frozen=True)
class Live:
    """A log with all rows, and what the live worker made of it."""

    log: EventLog
    ranges: list[OffsetRange]
    rows: int
    append_seconds: float
    seconds: float
    steps: dict[str, float]
    counts: Counts

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@contextmanager
def _worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The stack's process of group live, ended with the block."""
    spec = next(spec for spec in plan(settings) if spec.name == "worker-live")
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "worker.log").open("wb") as output:
        process = subprocess.Popen(
            dies_with_parent(spec.command),
            env={**os.environ, **settings.environment(), **spec.environment},
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _wait_running(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    path = StackPaths(settings.home).worker_stats("live")
    deadline = time.monotonic() + 90
    while (read_stats(path) or {}).get("state") != "running":
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the live worker does not run: {(settings.home / 'worker.log').read_text()}")
        time.sleep(0.01)


def _ranges(log: EventLog) -> list[OffsetRange]:
    found = [OffsetRange(t, p, low, high) for t in TOPICS for p, (low, high) in log.watermarks(t).items()]
    return [place for place in found if place.end > place.start]


def _measure(log: EventLog, rows: pl.DataFrame, copies: int, home: Path, url: str) -> Live:
    create_topics(log, 4, None)
    total, append_seconds = kafka_rows.append(log, kafka_rows.copies(rows, copies))
    ranges = _ranges(log)
    assert sum(place.end - place.start for place in ranges) == total
    migrate(url)
    settings = Settings(home=home, event_log_url=log.url, clickhouse_url=url)
    with _worker(settings) as process, open_clickhouse(url) as client:
        _wait_running(settings, process)
        began = time.perf_counter()
        assert wait_until_processed(log, ["live"], ranges, timeout=SECONDS), (home / "worker.log").read_text()
        counts = client.query(_PER_MINUTE).result_rows
        seconds = time.perf_counter() - began
        assert client.query("SELECT count() FROM events").result_rows == [(total,)]
    assert sum(row[2] for row in counts) == total
    steps = (read_stats(StackPaths(home).worker_stats("live")) or {})["seconds"]  # its last word, as it ended
    return Live(log, ranges, total, append_seconds, seconds, steps, counts)


@pytest.fixture(scope="module")
def rows(scale: float) -> pl.DataFrame:
    return kafka_rows.minute(scale)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, clickhouse_server: str, rows: pl.DataFrame) -> Iterator[Live]:
    """Kafka's topics, and what the live worker made of them."""
    if problem := kafka.missing():
        pytest.skip(problem)
    folder = tmp_path_factory.mktemp("kafka")
    with kafka.server(folder / "kafka") as broker:
        log = open_event_log(broker.url)
        yield _measure(log, rows, COPIES, folder / "home", f"{clickhouse_server}/bench_kafka")
        log.close()


def test_kafka_to_queryable(live: Live, clickhouse_server: str, figures: Any) -> None:
    url = f"{clickhouse_server}/bench_kafka_bare"
    migrate(url)
    with open_clickhouse(url) as client:
        events = pl.concat(
            decode_batch(batch_of([piece], [_span(piece)])).events.drop("raw")
            for place in live.ranges
            for piece in live.log.read([place])
        ).sort("event_time")
        began = time.perf_counter()
        for number, block in enumerate(events.iter_slices(100_000)):
            insert_frame(client, "events", block, token=f"bare-{number}")
        limit = events.height / (time.perf_counter() - began)
        assert client.query(_PER_MINUTE).result_rows == live.counts
    figures.add(
        f"Kafka → queryable, every event stored, live views included, {live.rows / 1e6:,.2f} M events",
        f"{live.rate:,.0f} events/s",
        against=f"bare Arrow insert with the same views: {limit:,.0f}/s; {live.seconds:.1f} s, of which "
        + ", ".join(f"{name} {spent:.1f}" for name, spent in live.steps.items()),
        ratio=f"{live.rate / limit:.0%}",
        target="at least 25 %, aim 50 %",
        reached=live.rate / limit >= 0.25,
    )


def _span(piece: Any) -> OffsetRange:
    return OffsetRange(piece.topic, piece.partition, piece.offsets[0], piece.offsets[-1] + 1)


def test_sqlite_log_against_kafka(
    live: Live, rows: pl.DataFrame, tmp_path: Path, clickhouse_server: str, figures: Any
) -> None:
    log = open_event_log(f"sqlite:///{tmp_path}/log.db")
    sqlite = _measure(log, rows, SQLITE_COPIES, tmp_path / "home", f"{clickhouse_server}/bench_kafka_sqlite")
    assert sqlite.counts == live.counts[: len(sqlite.counts)]
    for what, ours, theirs in (
        ("appended, durable", sqlite.rows / sqlite.append_seconds, live.rows / live.append_seconds),
        ("read alone", _read_rate(log, sqlite.ranges), _read_rate(live.log, live.ranges)),
        ("→ queryable, through the live worker", sqlite.rate, live.rate),
    ):
        figures.add(
            f"SQLite log, {what}",
            f"{ours:,.0f} events/s",
            against=f"Kafka: {theirs:,.0f}/s",
            ratio=f"{ours / theirs:.2f} : 1",
        )
    log.close()


def _read_rate(log: EventLog, ranges: Sequence[OffsetRange]) -> float:
    began = time.perf_counter()
    read = sum(len(piece) for place in ranges for piece in log.read([place]))
    return read / (time.perf_counter() - began)


def test_against_flink(live: Live, figures: Any) -> None:
    if problem := flink_environment.missing():
        pytest.skip(problem)
    command = [
        *(str(flink_environment.python()), str(Path(__file__).with_name("flink_job.py"))),
        *(str(flink_environment.connector()), live.log.url.removeprefix("kafka://")),
        *(";".join(sorted({place.topic for place in live.ranges})), "2"),
    ]
    done = subprocess.run(dies_with_parent(command), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    best = min(runs, key=lambda run: run["wall"])  # the first one finds a cold JVM
    is_enough = live.rows >= FEWEST
    wall, own = live.rows / best["wall"], live.rows / best["own_clock"]
    figures.add(
        f"Kafka → queryable, every event stored, {live.rows / 1e6:,.2f} M events",
        f"{live.rate:,.0f} events/s",
        against=f"PyFlink, the aggregates alone, better of 2 runs: {wall:,.0f}/s, by its own clock {own:,.0f}/s",
        ratio=f"{live.rate / wall:.2f} x by wall, {live.rate / own:.2f} x by Flink's own clock",
        target="at least 2 x by wall, aim 3 x" if is_enough else "",
        reached=live.rate >= 2 * wall or not is_enough,
    )
    assert _printed(done.stdout) == sorted(live.counts * len(runs)), done.stdout[:2000]


def _printed(output: str) -> Counts:
    """Read what Flink's print connector wrote, in order."""
    return sorted(
        (int(datetime.fromisoformat(minute).replace(tzinfo=UTC).timestamp()), name, int(events), int(actors))
        for minute, name, events, actors in _PRINTED.findall(output)
    )
