"""1, 2, 4 and again fewer members of a group on the real broker, with rebalances in the middle of their batches."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.event_types import TOPICS
from contracts.mapping import load_mapping
from deploy.servers import Server
from resources.event_log import Commit, EventLog, FencedError, TopicPartition, TopicSpec, open_event_log
from resources.raw_store import PositionRange, open_raw_store
from streaming.intake import Submission, admit
from streaming.topics import create_topics
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

SECONDS = 150.0


class Member:
    """Takes a batch, works on it for a while, commits it: only then is it done."""

    def __init__(self, url: str, group: str, topic: str, done: Callable[[bytes, int], None]) -> None:
        self._log = open_event_log(url, timeout=30.0)
        self._stop = threading.Event()
        self.batches = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(group, topic, done), daemon=True)
        self._thread.start()

    def leave(self) -> None:
        self._stop.set()
        self._thread.join()
        self._log.close()
        assert self.failure is None, self.failure

    def _run(self, group: str, topic: str, done: Callable[[bytes, int], None]) -> None:
        try:
            consumer = self._log.consumer(group, [topic])
            while not self._stop.is_set():
                for chunk in consumer.poll(40, 0.1):
                    time.sleep(0.02)
                    try:
                        consumer.commit({TopicPartition(topic, chunk.partition): Commit(chunk.offsets[-1] + 1)})
                    except FencedError:
                        continue
                    for key, value in zip(chunk.keys, chunk.values, strict=True):
                        done(key or b"", int(value or b"-1"))
                    self.batches += 1
            consumer.close()
        except BaseException as error:
            self.failure = error


class Feed:
    """Numbers per key: 0, 1, 2, … in the order appended."""

    def __init__(self, log: EventLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        self.sent = 0
        self.seen: dict[bytes, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    def send(self) -> None:
        keys = [f"key-{n % 40}".encode() for n in range(200)]
        self._log.append(self._topic, keys, [f"{self.sent * 5 + n // 40}".encode() for n in range(200)])
        self.sent += 1

    def take(self, key: bytes, value: int) -> None:
        with self._lock:
            self.seen[key].append(value)

    @property
    def complete(self) -> bool:
        with self._lock:
            return sum(map(len, self.seen.values())) >= self.sent * 200


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_per_key_order_survives_one_two_four_members_and_back(kafka: Server, unique: Callable[[], str]) -> None:
    log = open_event_log(kafka.url, timeout=30.0)
    topic, group = unique(), unique()
    log.create_topics([TopicSpec(topic, 4)])
    feed = Feed(log, topic)
    members: list[Member] = []
    for size in (1, 2, 4, 2, 1):
        while len(members) < size:
            members.append(Member(kafka.url, group, topic, feed.take))
        while len(members) > size:
            members.pop(0).leave()
        before = [member.batches for member in members]
        deadline = time.monotonic() + SECONDS
        while any(member.batches <= had for member, had in zip(members, before, strict=True)):
            assert time.monotonic() < deadline
            feed.send()
            time.sleep(0.1)
    wait(lambda: feed.complete)
    for member in members:
        member.leave()
    assert feed.seen == {f"key-{n}".encode(): list(range(feed.sent * 5)) for n in range(40)}
    log.close()


def test_a_static_member_that_restarts_moves_no_partition(kafka: Server, unique: Callable[[], str]) -> None:
    log = open_event_log(kafka.url, timeout=30.0)
    topic, group = unique(), unique()
    log.create_topics([TopicSpec(topic, 2)])
    gone: list[set[TopicPartition]] = []
    stays = log.consumer(group, [topic], member_id="stays", on_revoke=gone.append)
    restarts = open_event_log(kafka.url, timeout=30.0).consumer(group, [topic], member_id="restarts")

    def settled() -> bool:
        stays.poll(1, 0.05)
        restarts.poll(1, 0.05)
        return len(stays.assignment()) == len(restarts.assignment()) == 1

    wait(settled)
    gone.clear()
    restarts.close()  # a static member does not say goodbye
    kept = stays.assignment()
    again = open_event_log(kafka.url, timeout=30.0).consumer(group, [topic], member_id="restarts")

    def back() -> bool:
        stays.poll(1, 0.05)
        again.poll(1, 0.05)
        return len(again.assignment()) == 1

    wait(back)
    assert (gone, stays.assignment()) == ([], kept)
    for consumer in (stays, again):
        consumer.close()
    log.close()


def test_workers_that_join_and_leave_store_every_row_once(start_server: Any, tmp_path: Path) -> None:
    """The worker itself, 1, 2 and 4 of it, on a broker of the test's own: its topics have fixed names."""
    broker: Server = start_server("kafka")
    log = open_event_log(broker.url, timeout=30.0)
    create_topics(log, partitions=4)
    store_url = f"sqlite:///{tmp_path}/raw.db"
    store = open_raw_store(store_url)
    store.ensure_schema()
    sent = 0

    def send() -> None:
        nonlocal sent
        rows = [
            json.dumps({"event_id": f"01890000-0000-7000-8000-{n:012d}", "type": "user.signed_in",
                        "actor": f"a{n % 50}", "occurred_at": "2026-01-05T10:00:00Z"}).encode()
            for n in range(sent, sent + 500)
        ]  # fmt: skip
        admit(Submission(rows, load_mapping("tally"), "demo", datetime.now(UTC), f"r{sent}"), log)
        sent += 500

    def stored() -> int:
        ranges = [
            PositionRange(topic, partition, low, high)
            for topic in TOPICS
            for partition, (low, high) in log.watermarks(topic).items()
        ]
        counts = store.verdicts(ranges)
        assert sum(each.duplicate + each.quarantined for each in counts.values()) == 0
        return sum(each.stored for each in counts.values())

    workers: list[tuple[threading.Thread, threading.Event]] = []
    for size in (1, 2, 4, 1):
        while len(workers) < size:
            stop = threading.Event()
            config = WorkerConfig("raw", broker.url, store_url, max_batch_rows=100, linger=0.05)
            workers.append((threading.Thread(target=run_worker, args=(config, stop), daemon=True), stop))
            workers[-1][0].start()
        while len(workers) > size:
            thread, stop = workers.pop(0)
            stop.set()
            thread.join()
        reached = sent
        for _ in range(4):
            send()
            wait(lambda reached=reached: stored() > reached)
            reached = stored()
    wait(lambda: stored() == sent)
    for thread, stop in workers:
        stop.set()
        thread.join()
    store.close()
    log.close()
