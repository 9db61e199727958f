"""Put ClickHouse's live tables right: rows at some log positions, and the rollups of the hours they touch.

Belongs here: deleting, writing and rolling up again while the live worker is paused. Does not belong here: deciding
what is wrong.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from orchestration.repair.ads import forget_live_ads
from orchestration.repair.positions import batch_of, known, truths
from orchestration.repair.sessions import mend_sessions
from orchestration.replay import rebuild_progress, rebuild_rollups
from orchestration.settings import Settings
from orchestration.stack.lifecycle import is_running
from orchestration.stack.mending import paused
from resources.clickhouse import Client, query_frame
from resources.clickhouse.cluster import changeable
from resources.raw_store.base import PositionRange
from serving.audit.clickhouse_rows import condition
from serving.audit.places import positions_of, ranges_of
from serving.audit.stores import AuditStores
from streaming.worker.live import LiveWriter

_TABLES = ("events", "event_positions", "live_rejects")
_RANGES_AT_ONCE = 200
_HOURS = "SELECT DISTINCT toUnixTimestamp(toStartOfHour(event_time)) AS h FROM events"


def repair_live(
    settings: Settings, stores: AuditStores, findings: pl.DataFrame, progress: Callable[[str], None]
) -> tuple[int, int]:
    """Write the findings' positions again and compute the rollups of their hours anew; returns positions and hours.

    `findings`: of ClickHouse and of live rollups. `progress` is told when the worker pauses and goes on.
    Raises StackError when the live worker cannot be paused.
    """
    client = stores.clickhouse
    positions = positions_of(findings)
    written = 0
    of_progress = pl.col("place").str.starts_with("live_progress")
    buckets = findings.filter(~of_progress)["bucket"].drop_nulls()
    hours = {int(at.timestamp()) // 3600 * 3600 for at in buckets}
    with _paused(settings, progress):
        for truth in truths(stores, positions):
            mine = known(truth, positions)
            written += mine.height
            hours |= _forget(client, ranges_of(mine))
            batch = batch_of(truth, mine)
            if batch.rows:
                writer = LiveWriter(settings.clickhouse_url, threading.Event())
                try:
                    writer.write(batch, f"repair/{uuid.uuid4()}", recovering=False)
                finally:
                    writer.close()
            hours |= {second for (second,) in batch.events.select(_HOUR).unique().iter_rows()}
        if hours:
            rebuild_rollups(client, sorted(hours))
        if not positions.is_empty() or not findings.filter(of_progress).is_empty():
            rebuild_progress(client)  # rows that were written again were counted again
        mend_sessions(client)
        forget_live_ads(client, hours)
    return written, len(hours)


@contextmanager
def _paused(settings: Settings, progress: Callable[[str], None]) -> Iterator[None]:
    """Pause the stack's live worker, if there is one, and say so: what comes meanwhile waits in the log."""
    running = is_running(settings)
    began = time.monotonic()
    with paused(settings.home, "worker-live"):
        if running:
            progress("live worker paused: what comes in waits in the log")
        yield
    if running:
        progress(f"live worker goes on, after a pause of {time.monotonic() - began:.1f} s")


_HOUR = pl.col("event_time").dt.truncate("1h").dt.epoch("s").alias("hour")


def _forget(client: Client, ranges: Sequence[PositionRange]) -> set[int]:
    """Delete every row of these positions; return the hours (s since 1970) in which events were."""
    hours: set[int] = set()
    for some in _some(ranges):
        where, given = condition(some)
        found = query_frame(client, f"{_HOURS} WHERE {where}", given)
        hours |= set(found["h"].cast(pl.Int64).to_list())
        for table in _TABLES:
            client.command(
                f"ALTER TABLE {changeable(table)} DELETE WHERE {where} SETTINGS mutations_sync = 2", parameters=given
            )
    return hours


def _some(ranges: Sequence[PositionRange]) -> Iterator[Sequence[PositionRange]]:
    for start in range(0, len(ranges), _RANGES_AT_ONCE):
        yield ranges[start : start + _RANGES_AT_ONCE]
