"""What is not an asset of its own and still part of the lineage, from topic to number.

Belongs here: the event log's topics, the raw store, the live tables, the publication log. Does not belong here:
anything that a run of an asset computes as its result.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets.describe.schemas import EVENTS, LIVE_EVENTS, RESTATEMENTS, SEALS, rollup
from contracts.event_types import EVENT_TYPES, TOPICS

_OWNERS = ["team:data-platform"]


def topic_key(topic: str) -> dg.AssetKey:
    """`user-events` is the asset `event_log/user_events`."""
    return dg.AssetKey(["event_log", topic.replace("-", "_")])


TOPIC_KEYS = [topic_key(topic) for topic in TOPICS if topic != "quarantine"]
QUARANTINE_TOPIC = topic_key("quarantine")
RAW_STORE = dg.AssetKey(["raw_store", "events"])
LIVE_TABLE = dg.AssetKey(["live", "events"])
LIVE_MINUTE = dg.AssetKey(["live", "engagement_minute"])
LIVE_HOUR = dg.AssetKey(["live", "engagement_hour"])


def _topic(topic: str) -> dg.AssetSpec:
    types = sorted(name for name, entry in EVENT_TYPES.items() if entry.topic == topic)
    holds = f"Carries {', '.join(types)}." if types else "Carries the rows that were refused, each with its reason."
    return dg.AssetSpec(
        topic_key(topic),
        description=f"Topic `{topic}` of the event log. {holds}",
        group_name="event_log",
        owners=_OWNERS,
        kinds={"kafka"},
        tags={"layer": "source", "domain": "events"},
        metadata={"dagster/table_name": topic, "dagster/column_schema": EVENTS},
    )


def _stored(
    key: dg.AssetKey,
    description: str,
    *,
    deps: Sequence[dg.AssetKey],
    kind: str,
    group: str,
    table: str,
    schema: dg.TableSchema,
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        description=description,
        deps=deps,
        group_name=group,
        owners=_OWNERS,
        kinds={kind},
        tags={"layer": group, "domain": "events"},
        metadata={"dagster/table_name": table, "dagster/column_schema": schema},
    )


EXTERNAL_ASSETS: list[dg.AssetSpec] = [
    *(_topic(topic) for topic in TOPICS),
    _stored(
        RAW_STORE,
        "Every event once and every refused row, by the input workers of group `raw`; one verdict per log position.",
        deps=[*TOPIC_KEYS, QUARANTINE_TOPIC],
        kind="mongodb",
        group="raw",
        table="raw_store.events",
        schema=EVENTS,
    ),
    _stored(
        LIVE_TABLE,
        "Events as the input workers of group `live` write them to ClickHouse, queryable within a second.",
        deps=[*TOPIC_KEYS, QUARANTINE_TOPIC],
        kind="clickhouse",
        group="live",
        table="tally.events",
        schema=LIVE_EVENTS,
    ),
    _stored(
        LIVE_MINUTE,
        "Engagement per minute, kept by a materialized view while events arrive.",
        deps=[LIVE_TABLE],
        kind="clickhouse",
        group="live",
        table="tally.live_engagement_minute",
        schema=rollup("minute", sealed=False),
    ),
    _stored(
        LIVE_HOUR,
        "Engagement per hour, kept by a materialized view while events arrive; sealed hours are checked against it.",
        deps=[LIVE_TABLE],
        kind="clickhouse",
        group="live",
        table="tally.live_engagement_hour",
        schema=rollup("hour", sealed=False),
    ),
]

_SEALED = [dg.AssetKey(name) for name in ("connector_slices", "engagement_hourly", "engagement_daily")]

PUBLICATION_ASSETS: list[dg.AssetSpec] = [
    _stored(
        dg.AssetKey(["tally", "seals"]),
        "Publication log: the newest row of a dataset, bucket and network names the build that readers see; the rows "
        "before it answer `as_of`. Written by the sealed assets as they publish.",
        deps=_SEALED,
        kind="clickhouse",
        group="sealed",
        table="tally.seals",
        schema=SEALS,
    ),
    _stored(
        dg.AssetKey(["tally", "restatements"]),
        "Every change of a closed bucket: metric, bucket, member, old and new value, cause, when. Written before the "
        "build that brings the change is published.",
        deps=_SEALED[1:],
        kind="clickhouse",
        group="sealed",
        table="tally.restatements",
        schema=RESTATEMENTS,
    ),
]
