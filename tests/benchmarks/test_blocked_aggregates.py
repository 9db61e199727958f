"""What ingest and the raw path feel while the aggregates stand still: the live worker is stopped as by SIGSTOP.

The rate before, during and after is the same; the undisturbed figure is taken half before and half after, so that what
grows with the stores does not count for or against either. TALLY_BENCH_BLOCKED_SECONDS says how long it stands
(default 30).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import posting
import pytest

from contracts.event_types import TOPICS
from orchestration.stack.paths import StackPaths
from orchestration.stack.stores import event_log, raw_store
from orchestration.stack.supervisord import Supervisor
from resources.clickhouse import open_clickhouse
from resources.event_log.base import OffsetRange
from resources.raw_store.base import PositionRange
from streaming.sources.files import wait_until_processed

RATE = 2000
LOOK_EVERY = 0.02
AT_ONCE = 20  # the oldest canaries that a look asks for: asking must not be the store's work
PROCESSES = {
    "embedded": ("clickhouse", "collector", "worker-live", "worker-raw"),
    "servers": ("kafka", "mongodb", "clickhouse", "collector", "worker-live", "worker-raw"),
}


@pytest.fixture
def blocked_seconds(scale: float) -> float:
    return max(3.0, float(os.environ.get("TALLY_BENCH_BLOCKED_SECONDS", "30")) * min(1.0, scale))


def _stream(stack: Any, seconds: float) -> tuple[list[float], list[float]]:
    """Send for that long; return each canary's seconds until answered, and until it was read in the raw store."""
    rows = posting.rows(RATE, seconds)
    sent = posting.Sent()
    stored: dict[str, float] = {}
    stop = threading.Event()

    def observe() -> None:
        with raw_store(stack.settings) as store:
            while not stop.wait(LOOK_EVERY):
                waiting = [name for name in list(sent.began) if name not in stored]
                for name in waiting[:AT_ONCE]:
                    if store.get_event("demo", name) is not None:
                        stored[name] = time.perf_counter()

    observer = threading.Thread(target=observe)
    observer.start()
    try:
        posting.send(stack.settings.collector_port, rows, RATE, sent)
        deadline = time.monotonic() + 60
        while not sent.began.keys() <= stored.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        observer.join()
    lost = sent.began.keys() - stored.keys()
    assert not lost, f"{len(lost)} of {len(sent.began)} canaries never came to the raw store"
    return (
        [sent.answered[name] - began for name, began in sent.began.items()],
        [stored[name] - began for name, began in sent.began.items()],
    )


def _wait_settled(stack: Any) -> list[OffsetRange]:
    """Wait until both groups have all of the log; return its ranges."""
    with event_log(stack.settings) as log:
        ends = [OffsetRange(t, p, low, high) for t in TOPICS for p, (low, high) in log.watermarks(t).items()]
        ranges = [place for place in ends if place.end > place.start]
        assert wait_until_processed(log, ["raw", "live"], ranges, timeout=300)
    return ranges


def _live_events(stack: Any) -> int:
    with open_clickhouse(stack.settings.clickhouse_url) as client:
        return int(client.query("SELECT count() FROM events").result_rows[0][0])


@pytest.mark.parametrize("stack", PROCESSES, indirect=True)
def test_ingest_while_aggregates_stand_still(
    stack: Any, figures: Any, at_percentile: Callable[[list[float], float], float], blocked_seconds: float
) -> None:
    engines = stack.settings.engines
    stack.up(*PROCESSES[engines])
    _stream(stack, 5)
    before = _stream(stack, blocked_seconds / 2)
    _wait_settled(stack)
    worker = Supervisor(StackPaths(stack.settings.home)).states()["worker-live"].pid
    assert worker is not None
    had = _live_events(stack)
    os.kill(worker, signal.SIGSTOP)
    try:
        during = _stream(stack, blocked_seconds)
        assert _live_events(stack) == had, "the aggregates moved while they were to stand still"
    finally:
        os.kill(worker, signal.SIGCONT)
    began = time.perf_counter()
    _wait_settled(stack)
    caught_up = time.perf_counter() - began
    after = _stream(stack, blocked_seconds / 2)
    ranges = _wait_settled(stack)
    with raw_store(stack.settings) as store:
        verdicts = store.verdicts([PositionRange(*place) for place in ranges])
    sent = sum(place.end - place.start for place in ranges)
    assert sum(counts.stored for counts in verdicts.values()) == sent == _live_events(stack)

    for what, one, blocked, other in zip(("answered", "in the raw store"), before, during, after, strict=True):
        free, stopped = at_percentile(one + other, 0.95), at_percentile(blocked, 0.95)
        figures.add(
            f"POST → {what} at {RATE:,} events/s while the aggregates stand still for {blocked_seconds:.0f} s, "
            f"{engines} engines, p95 of {len(blocked)} canaries",
            f"{stopped * 1000:,.0f} ms",
            against=f"undisturbed: {free * 1000:,.0f} ms; the aggregates had caught up after {caught_up:.1f} s",
            ratio=f"{stopped / free - 1:+.0%}",
            target="at most 10 % longer",
            reached=stopped <= 1.1 * free,
        )
