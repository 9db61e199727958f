"""Dashboard questions over many stored rows: from aggregates, against a scan of the rows.

The newest six hours are live, the week before them is sealed, so every question joins both. 10 M rows by default;
TALLY_BENCH_SCALE=10 makes it the 100 M of the promise, which takes a while to fill.
"""

from __future__ import annotations

import statistics
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from resources.clickhouse.sql import render
from serving.query import MetricQuery, answer

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

_SCAN = """
SELECT toStartOfDay(event_time) AS day, type, count() FROM events
WHERE workspace = 'bench' AND event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY day, type
"""


def _fill(client: Client, rows: int) -> None:
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


def _seal_all(client: Client) -> None:
    start = SEALED_FROM
    while start < SEALED_TO:
        end = min(start + timedelta(days=1), SEALED_TO)
        for hours in range(0, int((end - start) / timedelta(hours=1)), 6):
            first = start + timedelta(hours=hours)
            _seal(client, "engagement_hourly", "toStartOfHour(bucket)", first, min(first + timedelta(hours=6), end))
        if end - start == timedelta(days=1):
            _seal(client, "engagement_daily", "toStartOfDay(bucket)", start, end)
        start = end


def _median(times: list[float]) -> float:
    return statistics.median(times) * 1000


def test_dashboard_from_aggregates(clickhouse_server: str, figures: Any, scale: float) -> None:
    url = f"{clickhouse_server}/bench_dashboard"
    migrate(url)
    rows = int(10_000_000 * scale)
    with open_clickhouse(url) as client:
        _fill(client, rows)
        _seal_all(client)
        scans = []
        for _ in range(3):
            began = time.perf_counter()
            client.query(_SCAN, parameters={"start": END - timedelta(days=7), "end": END})
            scans.append(time.perf_counter() - began)
        scan = _median(scans)
        for name, question in QUESTIONS.items():
            query = MetricQuery(workspace="bench", end=END, **question)  # type: ignore[arg-type] # a table of questions
            assert answer(client, query).frame.height
            times = []
            for _ in range(15):
                began = time.perf_counter()
                answer(client, query)
                times.append(time.perf_counter() - began)
            median = _median(times)
            figures.add(
                f"{name}, {rows / 1e6:,.0f} M rows stored",
                f"{median:.0f} ms",
                against=f"scan of a week's rows: {scan:,.0f} ms",
                ratio=f"{scan / median:.1f} x",
                target="under 50 ms",
                reached=median < 50,
            )
