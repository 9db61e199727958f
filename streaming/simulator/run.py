"""Pacing and delivery of a simulation: history as fast as it goes, live at its rate.

Belongs here: when rows leave and through which sink. Does not belong here: what they contain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

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
    """Send all windows that `[start, end)` (UTC) touches, as fast as the sink takes it; returns rows sent."""
    sent = 0
    waiting: list[bytes] = []
    windows = network.windows(start, end)
    if truth is not None:
        truth.start, truth.end = _window_time(network, windows.start), _window_time(network, windows.stop)
    for number in windows:
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

    The first are those of the next window, from whose start `duration` counts. Rows are sent when their moment has come
    (late ones come late), so visible latency is measured honestly. However it ends, `truth` has what was sent.
    """
    began = datetime.now(UTC)
    stop = None
    sent = 0
    under_way: tuple[Delivery, int] | None = None  # a window's delivery, and how many of its rows were sent
    try:
        for tick_of in _paced(network, faults, began, tick):
            stop = stop or (tick_of.window + duration if duration else None)
            if stop and tick_of.due > stop:
                break
            pause = (tick_of.due - datetime.now(UTC)).total_seconds()
            if pause > 0:
                time.sleep(pause)
            if rows := tick_of.delivery.rows[tick_of.first : tick_of.end]:
                sink(rows)
                sent += len(rows)
            if truth is not None:
                truth.start, truth.end = truth.start or tick_of.window, tick_of.due
                if tick_of.is_last:
                    truth.add(tick_of.delivery)
                under_way = None if tick_of.is_last else (tick_of.delivery, tick_of.end)
            if on_progress:
                on_progress(sent, tick_of.due)
    finally:
        if truth is not None and under_way is not None:
            truth.add(under_way[0].first(under_way[1]))
    return sent


class _Tick(NamedTuple):
    """Rows `first` to `end` (exclusive) of a window's delivery are sent when it is `due`. `window`: its start."""

    window: datetime
    due: datetime
    delivery: Delivery
    first: int
    end: int
    is_last: bool


def _paced(network: SimulatedNetwork, faults: FaultRates, began: datetime, tick: float) -> Iterator[_Tick]:
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
            upto = max(done, len(delivery.rows) if i == ticks else round(int((moments < due).sum()) * share))
            yield _Tick(start, due, delivery, done, upto, i == ticks)
            done = upto
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
