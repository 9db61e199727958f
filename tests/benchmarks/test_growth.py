"""Growth: ten times the input at once, one person at a hundred times the others, and hours of work without a pause.

Rows come over HTTP into the stack's own processes. TALLY_BENCH_SCALE=6 makes the step three minutes long, and
TALLY_BENCH_SOAK (seconds, default 60) the soak as long as wanted: 1200 is the twenty minutes of the promise.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import posting
import pytest
from test_visible_latency import stream_and_watch

from contracts.event_types import EVENT_TOPICS
from orchestration.stack import leftovers
from orchestration.stack.memory import usage
from orchestration.stack.stores import event_log
from resources.clickhouse import open_clickhouse
from resources.event_log.base import TopicPartition
from streaming.topics import GROUPS

BASE, FACTOR = 200, 10
ONE_SECOND_OF_WORK = BASE * FACTOR
SOAK = float(os.environ.get("TALLY_BENCH_SOAK", "60"))
PROCESSES = ("clickhouse", "collector", "worker-live", "worker-raw")
ENOUGH = 1200  # seconds of soaking below which a slope per hour says little


@dataclass
class Watch:
    """What was seen while something ran: seconds since the start, messages that a group had not taken, bytes."""

    at: list[float] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def _behind(settings: Any) -> int:
    """Messages that the slower group has not taken."""
    with event_log(settings) as log:
        ends = {
            TopicPartition(topic, number): marks[1]
            for topic in EVENT_TOPICS
            for number, marks in log.watermarks(topic).items()
        }
        behind = []
        for group in GROUPS:
            commits = log.group_commits(group)
            behind.append(sum(end - (commits[place].offset if place in commits else 0) for place, end in ends.items()))
    return max(behind)


def _memory(settings: Any) -> int:
    found = usage([process.pid for process in leftovers.members(settings.home)], sample_seconds=0.01)
    return sum(each.pss for each in found.values())


@contextmanager
def _watching(settings: Any, every: float) -> Iterator[Watch]:
    watch, stop, began = Watch(), threading.Event(), time.monotonic()

    def look() -> None:
        while not stop.wait(every):
            watch.at.append(time.monotonic() - began)
            watch.behind.append(_behind(settings))
            watch.memory.append(_memory(settings))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()


def _settled(settings: Any, below: int, deadline: float = 300) -> float:
    """Seconds until at most so many messages are left to do."""
    began = time.monotonic()
    while _behind(settings) > below:
        assert time.monotonic() - began < deadline, "the backlog does not go away"
        time.sleep(0.2)
    return time.monotonic() - began


def _stored(settings: Any) -> int:
    with open_clickhouse(settings.clickhouse_url) as client:
        return int(client.query("SELECT count() FROM events").result_rows[0][0])


def test_ten_times_the_input_at_once(stack: Any, figures: Any, scale: float) -> None:
    stack.up(*PROCESSES)
    settings, seconds = stack.settings, 30 * scale
    before = posting.rows(BASE, 10)
    posting.send(settings.collector_port, before, BASE, posting.Sent())
    calm = _memory(settings)
    step = posting.rows(BASE * FACTOR, seconds)
    sent = posting.Sent()
    with _watching(settings, 0.5) as watch:
        really = posting.send(settings.collector_port, step, BASE * FACTOR, sent)
        after = _settled(settings, ONE_SECOND_OF_WORK)
    rest = _settled(settings, 0)
    canaries = len(sent.answered)
    lost = len(before) + len(step) + canaries - _stored(settings)
    lost += _canaries_of_before(settings, canaries)
    figures.add(
        f"step from {BASE} to {BASE * FACTOR:,} events/s for {seconds:.0f} s: backlog under a second of work after",
        f"{after:.1f} s (all done after {after + rest:.1f} s; longest backlog {max(watch.behind):,} messages)",
        against=f"really sent {really:,.0f}/s; lost {lost}",
        target="within 60 s, none lost",
        reached=after < 60 and lost == 0 and really > 0.9 * BASE * FACTOR,
    )
    grown = (max(watch.memory) - calm) / 1e6
    figures.add(
        "memory of collector, workers and ClickHouse at the step's peak",
        f"{max(watch.memory) / 1e6:,.0f} MB",
        against=f"before the step {calm / 1e6:,.0f} MB; grown by {grown:,.0f}",
        ratio=f"{max(watch.memory) / calm:.2f} x",
        target="bounded: under 2.5 GB",
        reached=max(watch.memory) < 2.5e9,
    )


def _canaries_of_before(settings: Any, of_step: int) -> int:
    """Canaries that were sent before the step: the only rows that are not counted elsewhere."""
    with open_clickhouse(settings.clickhouse_url) as client:
        found = client.query("SELECT count() FROM events WHERE network = 'canary'").result_rows[0][0]
    return int(found) - of_step


def test_one_person_at_a_hundred_times_the_others(
    stack: Any, figures: Any, at_percentile: Callable[[list[float], float], float], scale: float
) -> None:
    stack.up(*PROCESSES)
    settings, rate, seconds = stack.settings, 400, max(5.0, 15 * scale)
    stream_and_watch(stack, 200, 2)
    alone, _ = stream_and_watch(stack, rate, seconds)
    people = len(set(_actors(posting.rows(rate, seconds))))
    hot = 100 * rate / people
    stop = threading.Event()
    sent: list[int] = []
    noise = threading.Thread(target=_one_person, args=(settings.collector_port, hot, stop, sent))
    noise.start()
    try:
        beside, _ = stream_and_watch(stack, rate, seconds)
    finally:
        stop.set()
        noise.join()
    _settled(settings, 0)
    with open_clickhouse(settings.clickhouse_url) as client:
        kept = int(client.query("SELECT count() FROM events WHERE actor = 'hot'").result_rows[0][0])
    p95, quiet = at_percentile(beside, 0.95), at_percentile(alone, 0.95)
    figures.add(
        f"one person at {hot:,.0f} events/s, a hundred times the median of {people:,}: p95 of the others until visible",
        f"{p95 * 1000:,.0f} ms; of the person's {sum(sent):,} events {kept:,} are kept",
        against=f"without the person: {quiet * 1000:,.0f} ms",
        ratio=f"{p95 / quiet:.2f} x",
        target="under 1.2 x, all kept",
        reached=p95 < 1.2 * quiet and kept == sum(sent),
    )


def _actors(rows: list[bytes]) -> list[str]:
    return [str(json.loads(row)["actor"]) for row in rows]


def _one_person(port: int, rate: float, stop: threading.Event, sent: list[int]) -> None:
    client, pause = posting.Client(port), 0.1
    while not stop.wait(pause):
        count = max(1, round(rate * pause))
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        row = {"type": "reaction.added", "network": "app", "actor": "hot", "object": "post", "occurred_at": at}
        row |= {"sdk": "bench/1", "schema_version": 2}
        client.post([json.dumps({**row, "event_id": str(uuid.uuid4())}).encode() for _ in range(count)])
        sent.append(count)


@pytest.mark.timeout(SOAK + 900)
def test_soak(stack: Any, figures: Any) -> None:
    """The slope of memory over the last two thirds, by least squares, with its 95 % interval."""
    stack.up(*PROCESSES)
    settings, rate = stack.settings, 500
    deadline = time.monotonic() + SOAK
    count = 0
    with _watching(settings, max(1.0, SOAK / 240)) as watch:
        while time.monotonic() < deadline:
            rows = posting.rows(rate, min(60.0, max(5.0, deadline - time.monotonic())))
            sent = posting.Sent()
            posting.send(settings.collector_port, rows, rate, sent)
            count += len(rows) + len(sent.answered)
        _settled(settings, 0)
    late = [number for number, at in enumerate(watch.at) if at > SOAK / 3]
    hours = np.array([watch.at[number] for number in late]) / 3600
    megabytes = np.array([watch.memory[number] for number in late]) / 1e6
    (slope, _), covariance = np.polyfit(hours, megabytes, 1, cov=True)
    margin = 1.96 * float(np.sqrt(covariance[0, 0]))
    lost = count - _stored(settings)
    figures.add(
        f"memory while {rate} events/s came for {SOAK / 60:.0f} min: slope",
        f"{slope:+,.1f} MB/h ± {margin:,.1f}, from {megabytes[0]:,.0f} to {megabytes[-1]:,.0f} MB; {count:,} events",
        against=f"lost {lost}; longest backlog {max(watch.behind):,} messages",
        target=f"under 1 MB/h over {ENOUGH / 60:.0f} min" if SOAK >= ENOUGH else "",
        reached=lost == 0 and (SOAK < ENOUGH or slope - margin < 1),
    )
