"""Group `raw`: every event and every refused row into the raw store.

Belongs here: what is written in which order. Does not belong here: the store's protocol (`resources.raw_store`).
The raw store decides by primary key and position, so writing a batch again changes nothing and nothing is announced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import polars as pl

from resources.crashpoints import crashpoint
from resources.event_log.base import TopicPartition
from resources.raw_store.base import RawStore, RawStoreError, RowsRefusedError, VerdictCounts
from streaming.worker.decode import DecodedBatch, watermarks
from streaming.worker.isolate import Poison, StoreRefusesError, write_isolating
from streaming.worker.refused import poison_rejects
from streaming.worker.retry import until_done
from streaming.worker.writing import Written


class RawWriter:
    """Waits while the store is down; sets aside single rows that it refuses."""

    announces = False

    def __init__(self, store: RawStore, stop: threading.Event, on_state: Callable[[str], None] | None = None) -> None:
        self._store = store
        self._stop = stop
        self._on_state = on_state
        self._ready = False

    def write(self, batch: DecodedBatch, token: str, *, recovering: bool) -> Written:
        return until_done(
            lambda: self._write(batch),
            transient=(RawStoreError, StoreRefusesError),  # a store that is wrong, not down, is mended by a person
            stop=self._stop,
            what=f"raw store {self._store.url}",
            on_state=self._on_state,
        )

    def _write(self, batch: DecodedBatch) -> Written:
        if not self._ready:
            self._store.ensure_schema()
            self._ready = True
        started = time.perf_counter()
        counts = VerdictCounts(0, 0, 0)

        def put(events: pl.DataFrame, _rest: str = "") -> None:
            nonlocal counts
            counts = self._store.put_events(events)

        poison: list[Poison] = []
        if batch.events.height:
            # Rows that the search for poison writes are written again with the rest: that changes nothing.
            poison = write_isolating(batch.events, put, put, (RowsRefusedError,))
        crashpoint("raw.after_events")
        rejects = pl.concat([batch.rejects, poison_rejects(poison, f"raw store {self._store.url}")])
        if rejects.height:
            self._store.put_quarantine(rejects)
        crashpoint("raw.after_quarantine")
        return Written(
            counts.stored,
            counts.duplicate,
            counts.quarantined + rejects.height,
            seconds={"write": time.perf_counter() - started},
            watermarks=watermarks(batch.events),
        )

    def reached(self) -> dict[TopicPartition, int]:
        return {}  # nothing is announced, so nobody has to know

    def close(self) -> None:
        self._store.close()
