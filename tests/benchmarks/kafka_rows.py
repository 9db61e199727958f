"""Simulated rows in an event log, as intake would have put them there, in as many copies as a benchmark needs.

Belongs here: making and appending them. Does not belong here: reading, measuring.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl

from contracts.mapping import Context, load_mapping
from contracts.wire import encode
from resources.event_log.base import EventLog
from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, deliver

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
RATE = 5000
CLEAN = FaultRates(late=0, duplicate=0, broken=0)
_CHUNK = 20_000
_TIMES = ("occurred_at", "received_at", "event_time")


def minute(scale: float) -> pl.DataFrame:
    """Return the rows (EVENT_SCHEMA) of the minute from START, or of its first part, in order of time."""
    network = SimulatedNetwork(SimulationConfig(rate=RATE, steady=True))
    mapping = load_mapping("tally")
    context = Context(workspace="bench", received_at=START + timedelta(minutes=2), receipt_id="bench")
    end = START + timedelta(seconds=min(60.0, 60 * scale))
    windows = (deliver(network.window(number), CLEAN, 7, number) for number in network.windows(START, end))
    rows = [row for window in windows for row in window.rows]
    batches = [mapping.apply(rows[i : i + _CHUNK], context) for i in range(0, len(rows), _CHUNK)]
    assert not any(batch.rejected.height for batch in batches)
    return pl.concat(batch.valid for batch in batches).filter(pl.col("event_time") < end).sort("event_time")


def copies(rows: pl.DataFrame, number: int) -> Iterator[pl.DataFrame]:
    """Yield the rows again for each of so many minutes, with ids of their own that say their time as UUIDv7 does."""
    ids = rows["event_id"].to_list()
    for copy in range(number):
        millis = [int(name[:8] + name[9:13], 16) + copy * 60_000 for name in ids]
        moved = [f"{at >> 16:08x}-{at & 0xFFFF:04x}{name[13:]}" for at, name in zip(millis, ids, strict=True)]
        times = [pl.col(name) + timedelta(minutes=copy) for name in _TIMES]
        yield rows.with_columns(*times, event_id=pl.Series(moved))


def append(log: EventLog, minutes: Iterator[pl.DataFrame]) -> tuple[int, float]:
    """Append rows in order; return how many, and the seconds that the log alone took until they were durable."""
    total, seconds = 0, 0.0
    for rows in minutes:
        for chunk in rows.iter_slices(_CHUNK):
            for topic, (keys, values) in encode(chunk).items():
                began = time.perf_counter()
                log.append(topic, keys, values)
                seconds += time.perf_counter() - began
        total += rows.height
    return total, seconds
