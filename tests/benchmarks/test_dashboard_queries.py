"""Dashboard questions over many stored rows: from aggregates, against a scan of the rows.

The newest six hours are live, the week before them is sealed, so every question joins both. 10 M rows by default;
TALLY_BENCH_SCALE=10 makes it the 100 M of the promise, which takes a while to fill.
"""

from __future__ import annotations

import statistics
import time
from datetime import timedelta
from typing import Any

from dashboard import END, QUESTIONS, fill, seal_all

from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from serving.query import MetricQuery, answer

_SCAN = """
SELECT toStartOfDay(event_time) AS day, type, count() FROM events
WHERE workspace = 'bench' AND event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY day, type
"""


def _median(times: list[float]) -> float:
    return statistics.median(times) * 1000


def test_dashboard_from_aggregates(clickhouse_server: str, figures: Any, scale: float) -> None:
    url = f"{clickhouse_server}/bench_dashboard"
    migrate(url)
    rows = int(10_000_000 * scale)
    with open_clickhouse(url) as client:
        fill(client, rows)
        seal_all(client)
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
