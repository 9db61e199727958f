"""Live against sealed: is the number on the screen the one recomputed from raw, and if not, why?

Belongs here: asking for the comparison per (hour, network), its differing rows, and the totals of every store. Does not
belong here: the SQL of the comparison and its verdicts (dbt_project/macros/quality.sql; dbt and Dagster render it too).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from contracts.event_types import TOPICS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.event_log.base import EventLog
from resources.raw_store.base import PositionRange, RawStore

VERIFY_SCHEMA: dict[str, pl.DataType] = {
    "bucket": pl.Datetime("us", "UTC"),
    "network": pl.String(),
    "live": pl.Int64(),  # events in the live rollup
    "sealed": pl.Int64(),  # events in the published rollup
    "considered": pl.Int64(),  # archived events when the slice was made
    "admitted": pl.Int64(),  # of these, events that passed the first filter
    "differing_rows": pl.Int64(),  # rollup rows in which events or actors differ
    "verdict": pl.String(),  # equal | late | filtered | different
}
DIFFERENCE_SCHEMA: dict[str, pl.DataType] = {
    "bucket": pl.Datetime("us", "UTC"),
    "network": pl.String(),
    "workspace": pl.String(),
    "type": pl.String(),
    "dimension": pl.String(),
    "member": pl.String(),
    "live_events": pl.Int64(),
    "sealed_events": pl.Int64(),
    "live_actors": pl.Int64(),
    "sealed_actors": pl.Int64(),
}

_RANGE = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')"
_NETWORKS = " AND network IN {networks:Array(String)}"
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC)

_TOTALS = """
SELECT
    (SELECT count() FROM events) AS events,
    (SELECT sum(rows) FROM archive_contents FINAL WHERE retired = 0) AS archived,
    (SELECT sum(rows) FROM ({slices})) AS slices,
    (SELECT sum(events) FROM ({hours})) AS hours
"""


def verify(
    clickhouse: Client,
    start: datetime | None = None,
    end: datetime | None = None,
    networks: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Compare every sealed hour of `[start, end)` with the live rollup (VERIFY_SCHEMA), by hour and network.

    Verdicts: `equal`; `late` (events came after the hour was sealed, the next sealing takes them in); `filtered` (the
    first filtering pass left events out); `different` (a row was lost or doubled).
    """
    sql = render("live_against_sealed", condition=_condition(networks))
    return _found(query_frame(clickhouse, sql, _parameters(start, end, networks)), VERIFY_SCHEMA)


def differences(
    clickhouse: Client,
    start: datetime | None = None,
    end: datetime | None = None,
    networks: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the rollup rows of sealed hours of `[start, end)` in which live and sealed differ (DIFFERENCE_SCHEMA)."""
    sql = render("live_sealed_differences", condition=_condition(networks))
    return _found(query_frame(clickhouse, sql, _parameters(start, end, networks)), DIFFERENCE_SCHEMA)


def totals(clickhouse: Client, event_log: EventLog | None = None, raw_store: RawStore | None = None) -> dict[str, int]:
    """Events each store holds: `raw`, `live`, `archived`, `slices` and `hours` (both published).

    `raw` is there when log and raw store are given. Archive, slices and hours follow the others hour by hour.
    """
    sql = _TOTALS.format(
        slices=render("published_builds", dataset="connector_slices"),
        hours=render("published_builds", dataset="engagement_hourly"),
    )
    live, archived, slices, hours = (int(count or 0) for count in clickhouse.query(sql).result_rows[0])
    found = {"live": live, "archived": archived, "slices": slices, "hours": hours}
    if event_log is not None and raw_store is not None:
        ranges = [
            PositionRange(topic, partition, 0, high)
            for topic in TOPICS
            for partition, (_, high) in event_log.watermarks(topic).items()
        ]
        found = {"raw": sum(counts.stored for counts in raw_store.verdicts(ranges).values()), **found}
    return found


def _condition(networks: Sequence[str] | None) -> str:
    return _RANGE + (_NETWORKS if networks is not None else "")


def _parameters(start: datetime | None, end: datetime | None, networks: Sequence[str] | None) -> dict[str, Any]:
    return {
        "from_s": int((start or _FIRST).timestamp()),
        "to_s": int((end or _LAST).timestamp()),
        "networks": list(networks or ()),
    }


def _found(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Give the answer its schema; the store sends a DateTime as seconds since 1970."""
    if frame.is_empty():
        return pl.DataFrame(schema=schema)
    stamped = frame.with_columns(pl.from_epoch("bucket", "s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    return stamped.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort("bucket", "network")
