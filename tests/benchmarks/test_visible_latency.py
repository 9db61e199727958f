"""From just before POST to visible in the last live view, at a steady rate; and what one collector takes at most.

Collector, live worker and ClickHouse are the stack's own processes. Senders and the observer run beside them on the
same cores, so the figures hold what they cost.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import posting
import pytest

from contracts.mapping import load_mapping
from resources.clickhouse import open_clickhouse
from resources.event_log import open_event_log
from streaming.intake import Submission, admit
from streaming.topics import create_topics

SECONDS = 15
LOOK_EVERY = 0.04
# Events a second, and the seconds under which their p95 must be (None: measured only).
TARGETS: dict[str, dict[int, float | None]] = {
    "embedded": {1000: None, 2000: 1, 5000: None},
    "servers": {1000: None, 2000: 1, 5000: 1, 10_000: 2},
}
PROCESSES = {
    "embedded": ("clickhouse", "collector", "worker-live"),
    # With the group raw beside, as the stack on servers runs it.
    "servers": ("kafka", "mongodb", "clickhouse", "collector", "worker-live", "worker-raw"),
}

# A canary is visible when its row of the hour rollup is, which is made of the minute rollup, made of the event.
_SEEN = (
    "SELECT member FROM live_engagement_hour WHERE workspace = 'demo' AND dimension = 'object' AND network = 'canary'"
)


def _observe(url: str, seen: dict[str, float], stop: threading.Event) -> None:
    """Note when each canary was first in an answer, until `stop`."""
    with open_clickhouse(url) as client:
        while not stop.wait(LOOK_EVERY):
            found = client.query(_SEEN).result_rows
            now = time.perf_counter()
            for (name,) in found:
                seen.setdefault(name, now)


def stream_and_watch(stack: Any, rate: float, seconds: float) -> tuple[list[float], float]:
    """Send for that long; return each canary's seconds until it was seen, and the events a second really sent."""
    rows = posting.rows(rate, seconds)
    sent = posting.Sent()
    seen: dict[str, float] = {}
    stop = threading.Event()
    observer = threading.Thread(target=_observe, args=(stack.settings.clickhouse_url, seen, stop))
    observer.start()
    try:
        really = posting.send(stack.settings.collector_port, rows, rate, sent)
        deadline = time.monotonic() + 30
        while not sent.began.keys() <= seen.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        observer.join()
    lost = sent.began.keys() - seen.keys()
    assert not lost, f"{len(lost)} of {len(sent.began)} canaries were never seen"
    return [seen[name] - began for name, began in sent.began.items()], really


@pytest.mark.parametrize("stack", TARGETS, indirect=True)
def test_posted_to_visible(
    stack: Any, figures: Any, at_percentile: Callable[[list[float], float], float], scale: float
) -> None:
    engines = stack.settings.engines
    stack.up(*PROCESSES[engines])
    stream_and_watch(stack, 200, 2)  # what is imported and compiled at the first batch is not what is asked
    alone, _ = stream_and_watch(stack, 40, 4)
    idle = statistics.median(alone)
    for rate, limit in TARGETS[engines].items():
        times, really = stream_and_watch(stack, rate, max(2.0, SECONDS * min(1.0, scale)))
        half, most, worst = at_percentile(times, 0.5), at_percentile(times, 0.95), max(times)
        figures.add(
            f"POST → visible at {rate:,} events/s, {engines} engines, p95 of {len(times)} canaries",
            f"{most * 1000:,.0f} ms (p50 {half * 1000:,.0f}, max {worst * 1000:,.0f})",
            against=f"nearly idle (40/s): p50 {idle * 1000:,.0f} ms; really sent {really:,.0f}/s",
            ratio=f"{most / idle:.1f} x",
            target=f"under {limit} s" if limit else "",
            reached=limit is None or (most < limit and really > 0.95 * rate),
        )


@pytest.mark.parametrize("batch", [100])
def test_collector_throughput(stack: Any, figures: Any, tmp_path: Path, batch: int) -> None:
    rows = posting.rows(5000, 10)
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
        client = posting.Client(stack.settings.collector_port)
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
