"""Dashboard questions over many stored rows: from aggregates, against a scan of the rows.

10 M rows by default; TALLY_BENCH_SCALE=10 makes it the 100 M of the promise (about ten minutes to fill).
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from serving.query import MetricQuery, answer

END = datetime(2026, 11, 20, tzinfo=UTC)
START = END - timedelta(days=28)
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


def _median(times: list[float]) -> float:
    return statistics.median(times) * 1000


def test_dashboard_from_aggregates(clickhouse_server: str, figures: Any, scale: float) -> None:
    url = f"{clickhouse_server}/bench_dashboard"
    migrate(url)
    rows = int(10_000_000 * scale)
    with open_clickhouse(url) as client:
        _fill(client, rows)
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
