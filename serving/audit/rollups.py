"""Rollups against what they were made from, rolled up again with the same macros.

Belongs here: this comparison, in ClickHouse. Does not belong here: the formula of a rollup (dbt_project/macros).

Events must be equal and the sets of actors the same: their union may have no member more than either of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from contracts.envelope import UTC_MS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.audit.findings import Kind, Store, build, join_all

EVENTS_AT_ONCE = 200_000

_KEY = "bucket, workspace, network, type, dimension, member"
_TIME = "{column} >= toDateTime({{from_s:Int64}}, 'UTC') AND {column} < toDateTime({{to_s:Int64}}, 'UTC')"

_COMPARE = """
SELECT toUnixTimestamp(bucket) AS bucket_s, toString(workspace) AS workspace, toString(network) AS network,
    toString(type) AS type, toString(dimension) AS dimension, member,
    sumIf(n, side = 1) AS expected_events, sumIf(n, side = 2) AS found_events,
    uniqExactMergeIf(states, side = 1) AS expected_actors, uniqExactMergeIf(states, side = 2) AS found_actors,
    uniqExactMerge(states) AS all_actors
FROM
(
    SELECT 1 AS side, {key}, toUInt64(events) AS n, actors AS states FROM ({source})
    UNION ALL
    SELECT 2 AS side, {key}, toUInt64(events) AS n, actors AS states FROM ({stored})
)
GROUP BY {key}
HAVING expected_events != found_events OR expected_actors != found_actors OR all_actors != found_actors
"""
_SIZES = """
SELECT toUnixTimestamp(toStartOfHour(bucket)) AS hour_s, max(n) AS n
FROM
(
    SELECT toStartOfHour(event_time) AS bucket, count() AS n FROM events WHERE {events} GROUP BY bucket
    UNION ALL
    SELECT toStartOfHour(bucket) AS bucket, sum(events) AS n FROM live_engagement_minute
    WHERE dimension = 'all' AND {buckets} GROUP BY bucket
    UNION ALL
    SELECT bucket, sum(events) AS n FROM live_engagement_hour WHERE dimension = 'all' AND {buckets} GROUP BY bucket
    UNION ALL
    SELECT bucket, max(if(dataset IN ('connector_slices', 'engagement_hourly'), seals.events, 0)) AS n FROM seals
    WHERE {buckets} GROUP BY bucket
)
GROUP BY hour_s
ORDER BY hour_s
"""
_PROGRESS = """
SELECT concat('live_progress ', log_topic, '/', toString(log_partition)) AS place,
    toUnixTimestamp(toStartOfHour(min(oldest))) AS bucket_s,
    sumIf(n, side = 1) AS expected_events, sumIf(n, side = 2) AS found_events,
    maxIf(ends, side = 1) AS expected_ends, maxIf(ends, side = 2) AS found_ends
FROM
(
    SELECT 1 AS side, log_topic, log_partition, count() AS n, min(event_time) AS oldest,
        concat(toString(min(event_time)), ' to ', toString(max(event_time)), ', ', toString(max(received_at))) AS ends
    FROM events GROUP BY log_topic, log_partition
    UNION ALL
    SELECT 2 AS side, log_topic, log_partition, sum(events) AS n, min(oldest_event_time) AS oldest,
        concat(toString(min(oldest_event_time)), ' to ', toString(max(newest_event_time)), ', ',
            toString(max(newest_received_at))) AS ends
    FROM live_progress GROUP BY log_topic, log_partition
)
GROUP BY log_topic, log_partition
HAVING expected_events != found_events OR expected_ends != found_ends
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole hours `[start, end)` with at most about EVENTS_AT_ONCE events."""

    start: datetime
    end: datetime
    events: int

    @property
    def bounds(self) -> dict[str, int]:
        return {"from_s": int(self.start.timestamp()), "to_s": int(self.end.timestamp())}


def spans(client: Client, start: datetime, end: datetime, most: int = EVENTS_AT_ONCE) -> list[Span]:
    """Cut the hours of `[start, end)` that hold anything into spans of bounded size, in order of time."""
    given = {"from_s": max(int(start.timestamp()), 0), "to_s": int(end.timestamp())}
    sql = _SIZES.format(events=_TIME.format(column="event_time"), buckets=_TIME.format(column="bucket"))
    found: list[list[int]] = []  # first hour, end, events
    for hour, count in query_frame(client, sql, given).iter_rows():
        if found and found[-1][2] + count <= most:
            found[-1][1:] = [hour + 3600, found[-1][2] + count]
        else:
            found.append([hour, hour + 3600, count])
    return [Span(datetime.fromtimestamp(a, UTC), datetime.fromtimestamp(b, UTC), n) for a, b, n in found]


def compare_live_rollups(client: Client, span: Span) -> pl.DataFrame:
    """Findings about `live_engagement_minute` and `live_engagement_hour`."""
    events = f"(SELECT * FROM events WHERE {_TIME.format(column='event_time')})"  # noqa: S608 - our own texts
    return join_all(
        _compare(
            client,
            "live rollups",
            table,
            render("engagement_rollup", source=events, bucket=f"{start}(event_time)"),
            f"SELECT * FROM {table} WHERE {_TIME.format(column='bucket')}",  # noqa: S608 - our own texts
            span,
        )
        for table, start in (
            ("live_engagement_minute", "toStartOfMinute"),
            ("live_engagement_hour", "toStartOfHour"),
        )
    )


def compare_live_progress(client: Client) -> pl.DataFrame:
    """Findings about `live_progress`: events, extent of event_time and newest arrival of each log partition.

    It is small and compared whole; `bucket` is the hour of the partition's oldest event.
    """
    wrong = query_frame(client, _PROGRESS)
    if wrong.is_empty():
        return join_all([])
    said = wrong.with_columns(
        pl.from_epoch(pl.col("bucket_s").cast(pl.Int64), "s").dt.replace_time_zone("UTC").cast(UTC_MS).alias("bucket"),
        pl.lit("events, event_time, received_at").alias("columns"),
        *(pl.format("{}, {}", f"{side}_events", f"{side}_ends").alias(side) for side in ("expected", "found")),
    )
    return join_all(
        build("live rollups", "missing" if lost else "changed", str(place), part)
        for (place, lost), part in said.group_by("place", pl.col("found_events") == 0, maintain_order=True)
    )


def compare_sealed_rollups(client: Client, span: Span) -> pl.DataFrame:
    """Findings about published hours and days, each against the builds that it was made from."""
    return join_all(_sealed(client, span))


def _sealed(client: Client, span: Span) -> Iterator[pl.DataFrame]:
    sources = {
        "engagement_hourly": (
            "connector_slices_builds",
            "toStartOfHour(event_time)",
            "engagement_rollup",
            "event_time",
        ),
        "engagement_daily": ("engagement_hourly_builds", "bucket", "engagement_merge", "bucket"),
    }
    for dataset, (table, source_bucket, macro, column) in sources.items():
        published = render("published_builds", dataset=dataset, condition=_TIME.format(column="bucket"))
        daily = dataset == "engagement_daily"
        made_of = (
            f"SELECT network, source_bucket, source_build_id FROM build_scopes WHERE (bucket, network, build_id) IN "  # noqa: S608 - our own texts
            f"(SELECT bucket, network, build_id FROM ({published}))"
        )
        until = "{to_s:Int64} + 86400" if daily else "{to_s:Int64}"
        source = (
            f"(SELECT * FROM {table} WHERE {column} >= toDateTime({{from_s:Int64}}, 'UTC') "  # noqa: S608 - our own texts
            f"AND {column} < toDateTime({until}, 'UTC') AND (network, {source_bucket}, build_id) IN ({made_of}))"
        )
        bucket = "toStartOfDay(bucket, 'UTC')" if daily else source_bucket
        stored = (
            f"SELECT * FROM {dataset}_builds WHERE {_TIME.format(column='bucket')} "  # noqa: S608 - our own texts
            f"AND (bucket, network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))"
        )
        yield _compare(client, "sealed rollups", dataset, render(macro, source=source, bucket=bucket), stored, span)


def _compare(  # noqa: PLR0917 # two sides and where they are from
    client: Client, store: Store, place: str, source: str, stored: str, span: Span
) -> pl.DataFrame:
    sql = _COMPARE.format(key=_KEY, source=source, stored=stored)
    wrong = query_frame(client, sql, span.bounds)
    if wrong.is_empty():
        return build(store, "changed", place, pl.DataFrame())
    member = pl.format("{} {} {}", "type", "dimension", "member").str.strip_chars()
    said = wrong.with_columns(
        bucket=pl.from_epoch(pl.col("bucket_s").cast(pl.Int64), "s").dt.replace_time_zone("UTC").cast(UTC_MS),
        kind=pl.when(pl.col("found_events") == 0)
        .then(pl.lit("missing"))
        .when(pl.col("expected_events") == 0)
        .then(pl.lit("unexpected"))
        .otherwise(pl.lit("changed")),
        columns=pl.format("events, actors of {}", member),
        expected=pl.format("{}, {}", "expected_events", "expected_actors"),
        found=pl.format("{}, {}", "found_events", "found_actors"),
    ).with_columns(
        # The same number of actors, but not the same actors.
        found=pl.when(pl.col("found") == pl.col("expected")).then(pl.col("found") + " others").otherwise("found")
    )
    kinds: tuple[Kind, ...] = ("missing", "unexpected", "changed")
    return join_all(build(store, kind, place, said.filter(pl.col("kind") == kind)) for kind in kinds)
