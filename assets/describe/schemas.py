"""Column schemas of what the assets write, for `dagster/column_schema`.

Belongs here: names, types and one sentence per column. Does not belong here: creating tables (`resources/clickhouse`).
"""

from __future__ import annotations

import dagster as dg

from contracts.envelope import STORED_SCHEMA

_ENVELOPE = {
    "workspace": "Tenant: the account that owns the write key",
    "event_id": "Identity within the workspace, lower-case UUID text",
    "type": "What happened, e.g. post.created (contracts.event_types)",
    "network": "Where it happened",
    "actor": "Who did it, in the network's own id space",
    "object": "What it was done to; empty where nothing",
    "campaign": "Advertising campaign; empty where none",
    "topics": "Folded hashtags, each once",
    "properties": "JSON object with everything specific to the type or network",
    "occurred_at": "Time as the device or source said (UTC, ms)",
    "received_at": "Time Tally took it (UTC, ms)",
    "event_time": "Corrected time, used for every window (UTC, ms)",
    "time_flag": "ok, corrected or future",
    "sdk": "What sent it, e.g. python/0.1.0 or mapping/wikipedia@1",
    "schema_version": "Version of the envelope",
    "receipt_id": "The request or file load it came with",
    "raw": "The row exactly as it came",
    "log_topic": "Topic of the event log it was read from",
    "log_partition": "Partition of the topic",
    "log_offset": "Offset within the partition; unique with the two before",
}
_PERSONAL = {"actor", "properties", "raw"}
_SLICE = (
    "workspace", "event_id", "type", "network", "actor", "object", "campaign", "topics", "properties",
    "event_time", "received_at", "log_topic", "log_partition", "log_offset",
)  # fmt: skip
_BUILD = dg.TableColumn("build_id", "UUID", description="The build it belongs to; readers see the one its seal names")


def _envelope(name: str) -> dg.TableColumn:
    return dg.TableColumn(
        name,
        str(STORED_SCHEMA[name]),
        description=_ENVELOPE[name],
        constraints=dg.TableColumnConstraints(nullable=False),
        tags={"pii": "true"} if name in _PERSONAL else {},
    )


EVENTS = dg.TableSchema([_envelope(name) for name in STORED_SCHEMA])
LIVE_EVENTS = dg.TableSchema([_envelope(name) for name in STORED_SCHEMA if name != "raw"])
SLICES = dg.TableSchema([_BUILD, *(_envelope(name) for name in _SLICE)])


def rollup(bucket: str, sealed: bool = True) -> dg.TableSchema:
    """Schema of a rollup whose buckets are `bucket` long ("hour", "day", "minute")."""
    columns = [
        dg.TableColumn("bucket", "DateTime('UTC')", description=f"Start of the {bucket}, UTC"),
        _envelope("workspace"),
        _envelope("network"),
        _envelope("type"),
        dg.TableColumn("dimension", "String", description="What member is: all, object, campaign or topic"),
        dg.TableColumn("member", "String", description="The object, campaign or topic; empty for all"),
        dg.TableColumn("events", "SimpleAggregateFunction(sum, UInt64)", description="Events: a sum"),
        dg.TableColumn(
            "actors",
            "AggregateFunction(uniqExact, String)",
            description="Distinct actors: a mergeable state, never a sum (uniqExactMerge)",
        ),
    ]
    return dg.TableSchema([_BUILD, *columns] if sealed else columns)


HOURLY = rollup("hour")
DAILY = rollup("day")
