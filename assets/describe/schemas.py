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

FACTS = dg.TableSchema(
    [
        _BUILD,
        dg.TableColumn("dataset", "LowCardinality(String)", description="Family of the measure (contracts.facts)"),
        dg.TableColumn("bucket", "DateTime('UTC')", description="Start of a quarter of an hour, UTC"),
        _envelope("workspace"),
        _envelope("network"),
        dg.TableColumn("dimension", "LowCardinality(String)", description="all, or one of the family's"),
        dg.TableColumn("member", "String", description="The member; empty for all, unknown where nothing is said"),
        dg.TableColumn("measure", "LowCardinality(String)", description="What is counted (contracts.facts)"),
        dg.TableColumn("value", "Int64", description="A sum; money in minor units"),
    ]
)

_PUBLISHED = {
    "dataset": ("LowCardinality(String)", "connector_slices, engagement_hourly, engagement_daily or a fact dataset"),
    "bucket": ("DateTime('UTC')", "Start of the hour or day, UTC"),
    "network": ("LowCardinality(String)", "Network of the bucket"),
}
_SEAL = {
    "build_id": ("UUID", "The build that readers see from now on"),
    "previous_build_id": ("UUID", "The one they saw before; all zeros where there was none"),
    "rows": ("UInt64", "Rows of the build in this bucket"),
    "events": ("UInt64", "Archived rows considered (slices), or events counted (engagement)"),
    "checksum": ("UInt64", "Names what went in, down to the rows of the slices"),
    "cause": ("LowCardinality(String)", "seal, late data, repair, …"),
    "run_id": ("String", "Dagster run that published it"),
    "sealed_at": ("DateTime64(6, 'UTC')", "When readers began to see it"),
}
_RESTATEMENT = {
    "metric": ("LowCardinality(String)", "events or active_actors"),
    "workspace": ("LowCardinality(String)", "Tenant"),
    "type": ("LowCardinality(String)", "Event type"),
    "dimension": ("LowCardinality(String)", "all, object, campaign or topic"),
    "member": ("String", "The object, campaign or topic"),
    "old_value": ("Nullable(Float64)", "Null where the row is new"),
    "new_value": ("Nullable(Float64)", "Null where the row is gone"),
    "cause": ("LowCardinality(String)", "Why it changed"),
    "build_id": ("UUID", "The build that brought the change; it counts once a seal names it"),
    "previous_build_id": ("UUID", "The build that had the old value"),
    "run_id": ("String", "Dagster run"),
    "restated_at": ("DateTime64(6, 'UTC')", "When it was written"),
}


_SESSION = {
    "build_id": ("UUID", "The build it belongs to; readers see the one its seal names"),
    "bucket": ("DateTime('UTC')", "Start of the UTC day it began on"),
    "workspace": ("LowCardinality(String)", "Tenant"),
    "network": ("LowCardinality(String)", "Where it happened"),
    "actor": ("String", "Whose session it is; empty where only the device is known"),
    "device_id": ("String", "Whose session it is where there is no actor"),
    "session_id": ("UUID", "UUIDv5 of identity and first event id"),
    "started_at": ("DateTime64(3, 'UTC')", "Time of the first event"),
    "ended_at": ("DateTime64(3, 'UTC')", "Time of the last event"),
    "first_event_id": ("UUID", "The first event"),
    "last_event_id": ("UUID", "The last event"),
    "events": ("UInt32", "Events in it"),
    "events_after_midnight": ("UInt32", "Of these, those on the UTC day after the one it began on"),
    "views": ("UInt32", "Pages and contents shown"),
    "key_events": ("UInt32", "Conversions, and events marked as key events"),
    "engaged": ("Bool", "Over 10 s, or a key event, or at least two views"),
    "entry": ("String", "First item viewed, or met where nothing was viewed"),
    "exit": ("String", "Last such item"),
    "campaign": ("LowCardinality(String)", "Of the first event that names one"),
    "device": ("LowCardinality(String)", "Kind of device, of the first event that names one"),
    "goal_minor": ("Int64", "Worth of its key events in minor units of goal_currency"),
    "goal_currency": ("LowCardinality(String)", "That of the first goal that is worth something"),
    "goals_in_other_currencies": ("UInt32", "Goals whose worth is in no sum"),
    "steps": ("UInt32", "Items viewed (or met) in order, one that follows itself once"),
    "path": ("Array(String)", "The first 100 steps"),
}


def _table(columns: dict[str, tuple[str, str]]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind, description=text) for name, (kind, text) in columns.items()])


SEALS = _table(_PUBLISHED | _SEAL)
SESSIONS = _table(_SESSION)
RESTATEMENTS = _table(_PUBLISHED | _RESTATEMENT)
