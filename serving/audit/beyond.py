"""Rows at positions that the log never gave out: moved there by hand, a comparison by position would not meet them.

Belongs here: looking beyond the log's end. Does not belong here: anything up to it.
"""

from __future__ import annotations

import polars as pl

from contracts.event_types import TOPICS
from resources.event_log.base import EventLog
from resources.raw_store.base import PositionRange
from serving.audit.clickhouse_rows import events_at, keys_at, verdicts_at
from serving.audit.findings import build, join_all
from serving.audit.stores import AuditStores

_LAST = 2**62


def beyond_raw(stores: AuditStores) -> tuple[pl.DataFrame, int]:
    """Verdicts of the raw store beyond the log's end, as findings."""
    ranges = _beyond(stores.log)
    store = stores.raw_store
    held = {
        "events": pl.concat(list(store.read_events(ranges)) or [pl.DataFrame()]),
        "duplicates": store.read_duplicates(ranges),
        "quarantine": store.read_refused(ranges),
    }
    return join_all(build("raw store", "unexpected", place, rows) for place, rows in held.items()), 0


def beyond_live(stores: AuditStores) -> tuple[pl.DataFrame, int]:
    """Rows of ClickHouse's base tables beyond the log's end, as findings."""
    ranges = _beyond(stores.log)
    tables = {"events": events_at, "live_rejects": verdicts_at, "event_positions": keys_at}
    found = (build("ClickHouse", "unexpected", name, read(stores.clickhouse, ranges)) for name, read in tables.items())
    return join_all(found), 0


def _beyond(log: EventLog) -> list[PositionRange]:
    return [
        PositionRange(topic, partition, high, _LAST)
        for topic in TOPICS
        for partition, (_, high) in log.watermarks(topic).items()
    ]
