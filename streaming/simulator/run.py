"""Pacing and delivery of a simulation: history as fast as it goes, live at its rate.

Belongs here: when rows leave and through which sink. Does not belong here: what they contain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

import httpx
import polars as pl

from streaming.simulator.activity import SimulatedNetwork
from streaming.simulator.faults import Delivery, FaultRates, deliver
from streaming.simulator.truth import Truth


class Sink(Protocol):
    """Takes rows and returns when they are durable; raises when it cannot say so."""

    def __call__(self, rows: list[bytes], /) -> None: ...


def history(
    network: SimulatedNetwork,
    faults: FaultRates,
    start: datetime,
    end: datetime,
    sink: Sink,
    *,
    truth: Truth | None = None,
    batch_rows: int = 20_000,
    on_progress: Callable[[int, datetime], None] | None = None,
) -> int:
    """Send all of `[start, end)` (UTC) as fast as the sink takes it; returns rows sent."""
    sent = 0
    waiting: list[bytes] = []
    for number in network.windows(start, end):
        delivery = deliver(network.window(number), faults, network.config.seed, number)
        if truth is not None:
            truth.add(delivery)
        waiting.extend(delivery.rows)
        while len(waiting) >= batch_rows:
            sink(waiting[:batch_rows])
            sent += batch_rows
            waiting = waiting[batch_rows:]
            if on_progress:
                on_progress(sent, _window_time(network, number))
    if waiting:
        sink(waiting)
        sent += len(waiting)
    if on_progress:
        on_progress(sent, end)
    return sent


def live(
    network: SimulatedNetwork,
    faults: FaultRates,
    sink: Sink,
    *,
    duration: timedelta | None = None,
    tick: float = 0.2,
    truth: Truth | None = None,
    on_progress: Callable[[int, datetime], None] | None = None,
) -> int:
    """Send events as they happen, until `duration` has passed or for ever. Behind schedule it sends larger batches.

    Rows are sent when their moment has come (late ones come late), so visible latency is measured honestly.
    """
    began = datetime.now(UTC)
    stop = began + duration if duration else None
    sent = 0
    for due, rows, delivery in _paced(network, faults, began, tick):
        if stop and due >= stop:
            break
        pause = (due - datetime.now(UTC)).total_seconds()
        if pause > 0:
            time.sleep(pause)
        if rows:
            sink(rows)
            sent += len(rows)
        if truth is not None and delivery is not None:
            truth.add(delivery)
        if on_progress:
            on_progress(sent, due)
    return sent


def _paced(
    network: SimulatedNetwork, faults: FaultRates, began: datetime, tick: float
) -> Iterator[tuple[datetime, list[bytes], Delivery | None]]:
    """Yield (when, rows) per tick. A window's delivery comes with its last tick, when all of it has been sent."""
    number = network.windows(began, began + timedelta(seconds=1)).start + 1
    while True:
        start = _window_time(network, number)
        events = network.window(number)
        delivery = deliver(events, faults, network.config.seed, number)
        ticks = max(1, round(network.config.window_seconds / tick))
        moments = events["occurred_at"] if events.height else pl.Series([], dtype=pl.Datetime("ms", "UTC"))
        share = len(delivery.rows) / max(1, events.height)
        done = 0
        for i in range(1, ticks + 1):
            due = start + timedelta(seconds=i * network.config.window_seconds / ticks)
            upto = len(delivery.rows) if i == ticks else round(int((moments < due).sum()) * share)
            yield due, delivery.rows[done:upto], delivery if i == ticks else None
            done = max(done, upto)
        number += 1


def _window_time(network: SimulatedNetwork, number: int) -> datetime:
    return datetime.fromtimestamp(number * network.config.window_seconds, UTC)


class HttpSink:
    """Posts rows to a collector as NDJSON, and waits as told when it is told to wait (429, 503, connection refused)."""

    def __init__(self, url: str, write_key: str, *, batch_rows: int = 500, give_up_after: float = 60.0) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {write_key}"}, timeout=30)
        self._batch_rows = batch_rows
        self._give_up_after = give_up_after

    def __call__(self, rows: list[bytes], /) -> None:
        for i in range(0, len(rows), self._batch_rows):
            self._post(b"\n".join(rows[i : i + self._batch_rows]))

    def _post(self, body: bytes) -> None:
        deadline = time.monotonic() + self._give_up_after
        while True:
            try:
                answer = self._client.post(
                    "/v1/events?verdicts=none", content=body, headers={"Content-Type": "application/x-ndjson"}
                )
            except httpx.TransportError:
                # The outcome is unknown: sending again is safe, because an event id is stored once.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
                continue
            if answer.status_code in {429, 503} and time.monotonic() < deadline:
                time.sleep(float(answer.headers.get("Retry-After", "1")))
                continue
            answer.raise_for_status()
            return

    def close(self) -> None:
        self._client.close()
