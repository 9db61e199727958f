"""Rows at positions that the log never gave out: moved there by hand, a comparison by position would not meet them.

Belongs here: looking beyond the log's end. Does not belong here: anything up to it.
"""

from __future__ import annotations

import polars as pl

from contracts.envelope import STORED_SCHEMA
from contracts.event_types import TOPICS
from resources.event_log.base import EventLog
from resources.raw_store.base import PositionRange
from serving.audit.clickhouse_rows import events_at, keys_at, verdicts_at
from serving.audit.findings import POSITION, build, join_all
from serving.audit.stores import AuditStores

_LAST = 2**62
_SAME = [*POSITION, "workspace", "event_id"]


def beyond_log(stores: AuditStores) -> tuple[pl.DataFrame, int]:
    """Events that raw store and ClickHouse both hold beyond the log's end, as findings of the log: it lost them."""
    held = _on_both_sides(stores).with_columns(found=pl.lit("raw store and ClickHouse have it, beyond the log's end"))
    return build("event log", "missing", "messages", held), 0


def beyond_raw(stores: AuditStores) -> tuple[pl.DataFrame, int]:
    """Verdicts that the raw store alone holds beyond the log's end, as findings."""
    ranges = _beyond(stores.log)
    store = stores.raw_store
    held = {
        "events": pl.concat(list(store.read_events(ranges)) or [pl.DataFrame()]),
        "duplicates": store.read_duplicates(ranges),
        "quarantine": store.read_refused(ranges),
    }
    found = join_all(build("raw store", "unexpected", place, rows) for place, rows in held.items())
    return found.join(_on_both_sides(stores), on=_SAME, how="anti"), 0


def beyond_live(stores: AuditStores) -> tuple[pl.DataFrame, int]:
    """Rows that ClickHouse's base tables alone hold beyond the log's end, as findings."""
    ranges = _beyond(stores.log)
    tables = {"events": events_at, "live_rejects": verdicts_at, "event_positions": keys_at}
    found = (build("ClickHouse", "unexpected", name, read(stores.clickhouse, ranges)) for name, read in tables.items())
    return join_all(found).join(_on_both_sides(stores), on=_SAME, how="anti"), 0


def _on_both_sides(stores: AuditStores) -> pl.DataFrame:
    ranges = _beyond(stores.log)
    raw = pl.concat([pl.DataFrame(schema=STORED_SCHEMA), *stores.raw_store.read_events(ranges)])
    return raw.join(events_at(stores.clickhouse, ranges), on=_SAME, how="semi")


def _beyond(log: EventLog) -> list[PositionRange]:
    return [
        PositionRange(topic, partition, high, _LAST)
        for topic in TOPICS
        for partition, (_, high) in log.watermarks(topic).items()
    ]
