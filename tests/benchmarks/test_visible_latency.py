"""From just before POST to visible in the last live view, at a steady rate; and what one collector takes at most.

Collector, live worker and ClickHouse are the stack's own processes. Senders and the observer run beside them on the
same cores, so the figures hold what they cost.
"""

from __future__ import annotations

import http.client
import random
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.mapping import load_mapping
from resources.clickhouse import open_clickhouse
from resources.event_log import open_event_log
from streaming.intake import Submission, admit
from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, deliver
from streaming.topics import create_topics

SECONDS = 15
CLIENTS = 4
PAUSE = (0.05, 0.2)  # seconds between two batches of one client
LOOK_EVERY = 0.04
RATES = (1000, 5000, 2000)  # the one with a target comes last: a miss ends the benchmark
CLEAN = FaultRates(late=0, duplicate=0, broken=0)

# A canary is an event of a network of its own whose object is its id: it is visible when its row of the hour rollup is,
# which is made of the minute rollup, which is made of the event.
_CANARY = (
    '{{"event_id":"{id}","type":"post.created","network":"canary","actor":"bird","object":"{id}",'
    '"occurred_at":"{at}","sdk":"bench/1","schema_version":2}}'
)
_SEEN = (
    "SELECT member FROM live_engagement_hour WHERE workspace = 'demo' AND dimension = 'object' AND network = 'canary'"
)


def _rows(rate: float, seconds: float) -> list[bytes]:
    network = SimulatedNetwork(SimulationConfig(rate=rate, steady=True))
    start = datetime.now(UTC)
    windows = network.windows(start, start + timedelta(seconds=seconds + 10))
    rows = [row for number in windows for row in deliver(network.window(number), CLEAN, 7, number).rows]
    return rows[: round(rate * seconds)]


class Client:
    """One connection to the collector."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, rows: list[bytes]) -> None:
        headers = {"Authorization": "Bearer demo-write-key", "Content-Type": "application/x-ndjson"}
        self._connection.request("POST", "/v1/events?verdicts=none", b"\n".join(rows), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:500]

    def stream(self, rows: list[bytes], rate: float, seed: int, sent: dict[str, float]) -> None:
        """Send at `rate` in batches at random moments, each with a canary; `sent` gets the moment before its POST."""
        chance = random.Random(seed)
        at, due = 0.0, time.perf_counter()
        while int(at) < len(rows):
            pause = chance.uniform(*PAUSE)
            batch = rows[int(at) : int(at + rate * pause)]
            at += rate * pause
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))
            name = str(uuid.uuid4())
            canary = _CANARY.format(id=name, at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z").encode()
            sent[name] = time.perf_counter()
            self.post([*batch, canary])


def _observe(url: str, seen: dict[str, float], stop: threading.Event) -> None:
    """Note when each canary was first in an answer, until `stop`."""
    with open_clickhouse(url) as client:
        while not stop.wait(LOOK_EVERY):
            found = client.query(_SEEN).result_rows
            now = time.perf_counter()
            for (name,) in found:
                seen.setdefault(name, now)


def _stream(stack: Any, rate: float, seconds: float) -> tuple[list[float], float]:
    """Send for that long; return each canary's seconds until it was seen, and the events a second really sent."""
    rows = _rows(rate, seconds)
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    stop = threading.Event()
    observer = threading.Thread(target=_observe, args=(stack.settings.clickhouse_url, seen, stop))
    observer.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            began = time.perf_counter()
            shares = [rows[number::CLIENTS] for number in range(CLIENTS)]
            clients = [Client(stack.settings.collector_port) for _ in shares]
            work = [
                pool.submit(client.stream, share, rate / CLIENTS, seed, sent)
                for seed, (client, share) in enumerate(zip(clients, shares, strict=True))
            ]
            for each in work:
                each.result()
            really = len(rows) / (time.perf_counter() - began)
        deadline = time.monotonic() + 30
        while not sent.keys() <= seen.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        observer.join()
    assert sent.keys() <= seen.keys(), f"{len(sent.keys() - seen.keys())} of {len(sent)} canaries were never seen"
    return [seen[name] - sent[name] for name in sent], really


def test_posted_to_visible(stack: Any, figures: Any, at_percentile: Callable[[list[float], float], float]) -> None:
    stack.up("clickhouse", "collector", "worker-live")
    _stream(stack, 200, 2)  # what is imported and compiled at the first batch is not what is asked
    alone, _ = _stream(stack, 40, 4)
    idle = statistics.median(alone)
    for rate in RATES:
        times, really = _stream(stack, rate, SECONDS)
        half, most, worst = at_percentile(times, 0.5), at_percentile(times, 0.95), max(times)
        promised = rate == 2000
        figures.add(
            f"POST → visible at {rate:,} events/s, p95 of {len(times)} canaries",
            f"{most * 1000:,.0f} ms (p50 {half * 1000:,.0f}, max {worst * 1000:,.0f})",
            against=f"nearly idle (40/s): p50 {idle * 1000:,.0f} ms; really sent {really:,.0f}/s",
            ratio=f"{most / idle:.1f} x",
            target="under 1 s" if promised else "",
            reached=not promised or (most < 1 and really > 0.95 * rate),
        )


@pytest.mark.parametrize("batch", [100])
def test_collector_throughput(stack: Any, figures: Any, tmp_path: Path, batch: int) -> None:
    rows = _rows(5000, 10)
    log = open_event_log(f"sqlite:///{tmp_path}/limit.db")
    create_topics(log, 4, None)
    mapping = load_mapping("tally")
    began = time.perf_counter()
    for i in range(0, len(rows), 10_000):
        admit(Submission(rows[i : i + 10_000], mapping, "demo", datetime.now(UTC), "bench"), log)
    limit = len(rows) / (time.perf_counter() - began)
    log.close()

    stack.up("clickhouse", "collector")
    connections = 8

    def push(share: list[bytes]) -> None:
        client = Client(stack.settings.collector_port)
        for i in range(0, len(share), batch):
            client.post(share[i : i + batch])

    push(rows[:2000])
    with ThreadPoolExecutor(connections) as pool:
        began = time.perf_counter()
        for done in [pool.submit(push, rows[number::connections]) for number in range(connections)]:
            done.result()
        reached = len(rows) / (time.perf_counter() - began)
    figures.add(
        f"one collector, batches of {batch}, {connections} connections",
        f"{reached:,.0f} events/s durable",
        against=f"the same intake without HTTP, 10,000 rows at once: {limit:,.0f}/s",
        ratio=f"{reached / limit:.0%}",
        reached=True,
    )
