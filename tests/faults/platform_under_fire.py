"""The whole platform as processes that a test may kill: collector, both workers, ClickHouse, over given servers.

Belongs here: starting, killing, pausing, sending, reading. Does not belong here: what is done to it, what must hold.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from history import History

from contracts.event_types import TOPICS
from deploy.servers.ports import free_port
from deploy.servers.process import dies_with_parent
from resources.clickhouse import ClickHouseUnavailableError, open_clickhouse
from resources.event_log import open_event_log
from resources.event_log.base import EventLogError, OffsetRange

PARTITIONS = 4
TYPES = ("reaction.added", "ad.clicked", "user.signed_in", "post.created")
KEY = "fire"
_COLLECTOR = """
import json, sys
from streaming.collector.config import CollectorConfig, parse_write_keys
from streaming.collector.main import run_collector
options = json.loads(sys.argv[1])
run_collector(CollectorConfig(write_keys=parse_write_keys("demo=fire"), **options))
"""
_WORKER = """
import json, sys
from pathlib import Path
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker
options = json.loads(sys.argv[1])
run_worker(WorkerConfig(**{**options, "stats_path": Path(options["stats_path"])}))
"""


@dataclass
class Process:
    """A process of ours: killed, paused and started again with the same command."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                dies_with_parent(self.command), stdout=log, stderr=log, env={**os.environ, **self.environment}
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()


class Platform:
    """`with` starts nothing and ends everything; the processes are started by `start`."""

    def __init__(self, folder: Path, log_url: str, raw_store_url: str) -> None:
        self.folder = folder
        self.log_url = log_url
        self.raw_store_url = raw_store_url
        self.clickhouse_port, self.collector_port = free_port(), free_port()
        self.clickhouse_url = f"http://127.0.0.1:{self.clickhouse_port}/fire"
        port = str(self.clickhouse_port)
        self.processes = {
            "clickhouse": self._process(
                "clickhouse",
                [sys.executable, "-m", "deploy.local.clickhouse", "--path", str(folder / "clickhouse"), "--port", port],
            ),
            "collector": self.collector(),
            "worker-raw": self.worker("raw", "worker-raw"),
            "worker-live": self.worker("live", "worker-live"),
        }

    def _process(self, name: str, command: list[str]) -> Process:
        return Process(name, command, self.folder / f"{name}.log")

    def collector(self, **options: Any) -> Process:
        given = {"port": self.collector_port, "topic_partitions": PARTITIONS, "append_timeout": 10.0, **options}
        arguments = json.dumps({"event_log_url": self.log_url, "raw_store_url": self.raw_store_url, **given})
        return self._process("collector", [sys.executable, "-c", _COLLECTOR, arguments])

    def worker(self, group: str, name: str, **options: Any) -> Process:
        given = {
            "group": group,
            "event_log_url": self.log_url,
            "raw_store_url": self.raw_store_url,
            "clickhouse_url": self.clickhouse_url,
            "member_id": name,
            "topic_partitions": PARTITIONS,
            "stats_path": str(self.folder / f"{name}.json"),
            **options,
        }
        return self._process(name, [sys.executable, "-c", _WORKER, json.dumps(given)])

    def start(self) -> None:
        from resources.clickhouse.migrate import migrate

        self.processes["clickhouse"].start()
        eventually(lambda: _answers(self.clickhouse_url), "ClickHouse answers")
        migrate(self.clickhouse_url)
        for name in ("collector", "worker-raw", "worker-live"):
            self.processes[name].start()
        eventually(self.accepts, "the collector answers")

    def accepts(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.collector_port}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Platform:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.exit_code is None:
                process.kill()

    def ranges(self) -> list[OffsetRange]:
        log = open_event_log(self.log_url)
        try:
            marks = [(topic, log.watermarks(topic)) for topic in TOPICS]
        finally:
            log.close()
        return [OffsetRange(t, p, low, high) for t, places in marks for p, (low, high) in places.items()]

    def is_drained(self) -> bool:
        """Whether both groups have committed everything."""
        log = open_event_log(self.log_url)
        try:
            ends = {(t, p): high for t in TOPICS for p, (_, high) in log.watermarks(t).items() if high}
            for group in ("raw", "live"):
                commits = {tuple(place): commit.offset for place, commit in log.group_commits(group).items()}
                if any(commits.get(place, 0) < end for place, end in ends.items()):
                    return False
        except EventLogError:
            return False
        finally:
            log.close()
        return True


def _answers(url: str) -> bool:
    try:
        open_clickhouse(url, database="default").close()
    except ClickHouseUnavailableError:
        return False
    return True


def eventually(condition: Callable[[], object], what: str, timeout: float = 120.0) -> float:
    """Wait until it holds and return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


class Sender(threading.Thread):
    """Sends batches until told to stop. Without a 200 a batch is sent again, as every client of ours does."""

    def __init__(self, platform: Platform, history: History, *, rows: int = 400, pause: float = 0.3) -> None:
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{platform.collector_port}/v1/events"
        self._history = history
        self._rows = rows
        self._pause = pause
        self._stopping = threading.Event()
        self.events: list[dict[str, str]] = []
        self.batches = 0
        self.again = 0

    def stop(self) -> None:
        self._stopping.set()
        self.join(120)
        assert not self.is_alive(), "the last batch is not acknowledged"

    def batch(self) -> list[dict[str, str]]:
        """Events of the last three hours, so that their hours are open, and all four types and topics."""
        now = datetime.now(UTC)
        first = len(self.events)
        return [
            {
                "event_id": str(uuid.uuid4()),
                "type": TYPES[number % 4],
                "actor": f"actor-{number % 997}",
                "object": f"object-{number % 13}",
                "occurred_at": (now - timedelta(minutes=number % 170)).isoformat(),
            }
            for number in range(first, first + self._rows)
        ]

    def run(self) -> None:
        with httpx.Client(headers={"X-Write-Key": KEY}, timeout=15) as client:
            while not self._stopping.wait(self._pause):
                batch = self.batch()
                self.events += batch
                self._send(client, batch)

    def _send(self, client: httpx.Client, batch: list[dict[str, str]]) -> None:
        ids = [row["event_id"] for row in batch]
        self._history.sending(ids)
        while True:
            try:
                answer = client.post(self._url, json=batch)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                assert answer.json()["accepted"] == len(batch)
                self._history.answered(ids)
                self.batches += 1
                return
            self.again += 1
            time.sleep(0.2)


class Reader(threading.Thread):
    """Asks all the time: how many events there are, and the number of an hour that is sealed."""

    def __init__(self, url: str, history: History, sealed: tuple[datetime, datetime]) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._history = history
        self._sealed = sealed
        self._stopping = threading.Event()
        self.answers = 0
        self.refused = 0

    def stop(self) -> None:
        self._stopping.set()
        self.join(120)

    def run(self) -> None:
        from serving.query import MetricQuery, answer

        client = None
        start, end = self._sealed
        while not self._stopping.wait(0.2):
            try:
                client = client or open_clickhouse(self._url)
                (count,) = client.query("SELECT count() FROM events").result_rows[0]
                found = answer(client, MetricQuery("events", start=start, end=end, grain="hour")).frame
            except Exception:  # down or cut off: a refusal is no wrong answer
                self.refused += 1
                continue
            self._history.saw_count("events", int(count))
            self._history.saw_sealed("sealed hours", tuple(found["value"].to_list()))
            self.answers += 1
