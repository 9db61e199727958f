"""The rows that dashboards are measured on, and the questions they ask.

Belongs here: four weeks of events, of which the newest six hours are live and the nine days before them sealed. Does
not belong here: measuring.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from resources.clickhouse.sql import render

END = datetime(2026, 11, 20, tzinfo=UTC)
START = END - timedelta(days=28)
SEALED_FROM, SEALED_TO = END - timedelta(days=9), END - timedelta(hours=6)
BLOCK = 250_000

# Events of four weeks: a long tail of objects, a hundred thousand people, a dozen campaigns.
_FILL = """
INSERT INTO events
SELECT 'bench', generateUUIDv7(),
    ['content.viewed', 'reaction.added', 'comment.created', 'share.created', 'post.created'][1 + h % 5],
    ['sim', 'app', 'bluesky'][1 + intDiv(h, 7) % 3], concat('u', toString(intDiv(h, 11) % 100000)),
    concat('p', toString(toUInt64(pow(intDiv(h, 13) % 100000, 2) / 1000000))),
    concat('c', toString(intDiv(h, 17) % 12)),
    [], '{}', at, at, at, 'ok', 'bench', 2, 'bench', 'content-events', toInt32(number % 4), number
FROM (
    SELECT number, cityHash64(number) AS h,
        toDateTime64({start:Int64} + intDiv(number * {seconds:Int64}, {rows:Int64}), 3, 'UTC') AS at
    FROM numbers({first:Int64}, {count:Int64})
)
"""

QUESTIONS = {
    "events per hour, a day": {"metric": "events", "start": END - timedelta(days=1), "grain": "hour"},
    "events by type per day, a week": {
        "metric": "events", "start": END - timedelta(days=7), "grain": "day", "by": ["type"],
    },
    "active actors per hour, a day": {"metric": "active_actors", "start": END - timedelta(days=1), "grain": "hour"},
    "top 10 objects, a day": {
        "metric": "events", "start": END - timedelta(days=1), "grain": "total", "by": ["object"],
        "limit": 10, "order": "-value",
    },
    "conversation rate by network per day, a week": {
        "metric": "conversation_rate", "start": END - timedelta(days=7), "grain": "day", "by": ["network"],
    },
}  # fmt: skip


def fill(client: Client, rows: int) -> None:
    for first in range(0, rows, BLOCK):
        client.command(
            _FILL,
            parameters={
                "start": int(START.timestamp()), "seconds": int((END - START).total_seconds()), "rows": rows,
                "first": first, "count": min(BLOCK, rows - first),
            },
            settings={"max_insert_block_size": BLOCK, "max_partitions_per_insert_block": 0},
        )  # fmt: skip
    client.command("OPTIMIZE TABLE live_engagement_hour")


def _seal(client: Client, dataset: str, bucket: str, start: datetime, end: datetime) -> None:
    """Publish a build of `[start, end)` from the live hours, as the sealed path does from its slices."""
    span = {"from_s": int(start.timestamp()), "to_s": int(end.timestamp()), "build": str(uuid.uuid4())}
    hours = """(SELECT * FROM live_engagement_hour
        WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC'))"""
    rows = render("engagement_merge", source=hours, bucket=bucket)
    client.command(
        f"INSERT INTO {dataset}_builds SELECT toUUID({{build:String}}) AS build_id, * FROM ({rows})",
        parameters=span,
        settings={"max_threads": 1},
    )
    client.command(
        f"""INSERT INTO seals (dataset, bucket, network, build_id, rows, events, checksum, cause, run_id)
        SELECT '{dataset}', bucket, network, any(build_id), count(), sumIf(events, dimension = 'all'), 0, 'seal', ''
        FROM {dataset}_builds WHERE build_id = toUUID({{build:String}}) GROUP BY bucket, network""",
        parameters=span,
    )


def seal_all(client: Client) -> None:
    start = SEALED_FROM
    while start < SEALED_TO:
        end = min(start + timedelta(days=1), SEALED_TO)
        for hours in range(0, int((end - start) / timedelta(hours=1)), 6):
            first = start + timedelta(hours=hours)
            _seal(client, "engagement_hourly", "toStartOfHour(bucket)", first, min(first + timedelta(hours=6), end))
        if end - start == timedelta(days=1):
            _seal(client, "engagement_daily", "toStartOfDay(bucket)", start, end)
        start = end
