"""Five dashboard questions over the same rows: Tally's answer against PostgreSQL's, and the bytes both keep.

PostgreSQL gets what somebody who knows it would give it: the narrowest types, one index for the time range, ANALYZE,
room in memory, parallel scans; and only the columns that the questions read, so that its table is not made larger by
what Tally keeps beside them. Tally answers through `serving.query`, zones, completeness and all.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dashboard import END, START, fill, seal_all

from deploy.servers import postgresql
from deploy.servers.scratch import scratch_folder
from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from serving.query import MetricQuery, answer

ROWS = 5_000_000

_TABLE = """
CREATE TABLE events (
    event_time timestamptz NOT NULL, event_id uuid NOT NULL, workspace text NOT NULL, network text NOT NULL,
    type text NOT NULL, actor text NOT NULL, object text NOT NULL, campaign text NOT NULL
)
"""
_EXPORT = """
SELECT toString(event_time), event_id, workspace, network, type, actor, object, campaign
FROM events WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
FORMAT CSV
"""
_MINE = "workspace = 'bench' AND event_time >= %(start)s AND event_time < %(end)s"

QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "events per hour": (
        {"metric": "events", "grain": "hour"},
        f"SELECT date_trunc('hour', event_time) AS bucket, count(*) FROM events WHERE {_MINE} GROUP BY bucket",
    ),
    "events by type per day": (
        {"metric": "events", "grain": "day", "by": ["type"]},
        f"""SELECT date_trunc('day', event_time) AS bucket, type, count(*) FROM events WHERE {_MINE}
            GROUP BY bucket, type""",
    ),
    "active actors per day": (
        {"metric": "active_actors", "grain": "day"},
        f"""SELECT date_trunc('day', event_time) AS bucket, count(DISTINCT actor) FROM events WHERE {_MINE}
            GROUP BY bucket""",
    ),
    "top 10 objects": (
        {"metric": "events", "grain": "total", "by": ["object"], "limit": 10, "order": "-value"},
        f"SELECT object, count(*) AS n FROM events WHERE {_MINE} GROUP BY object ORDER BY n DESC, object LIMIT 10",
    ),
    "conversation rate by network per day": (
        {"metric": "conversation_rate", "grain": "day", "by": ["network"]},
        f"""SELECT date_trunc('day', event_time) AS bucket, network,
            count(*) FILTER (WHERE type = 'comment.created')::float
                / nullif(count(*) FILTER (WHERE type = 'post.created'), 0)
            FROM events WHERE {_MINE} GROUP BY bucket, network""",
    ),
}
"""Name, the question as Tally takes it, and as SQL; all over the four weeks."""


@pytest.fixture
def postgres() -> Iterator[Any]:
    problem = postgresql.missing()
    if problem:
        pytest.skip(problem)
    with scratch_folder() as folder, postgresql.server(folder / "postgresql") as server:
        connection = psycopg2.connect(
            host="127.0.0.1", port=server.port, user=postgresql.USER, dbname=postgresql.DATABASE,
            password=postgresql.password(server.folder),
        )  # fmt: skip
        connection.autocommit = True
        yield connection
        connection.close()


def _median(call: Callable[[], object], times: int) -> float:
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _copy(client: Any, connection: Any) -> None:
    """Copy all rows over, in portions that fit in memory."""
    portions = 20
    step = (END - START) / portions
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(_TABLE)
        for number in range(portions):
            span = {"start": START + number * step, "end": START + (number + 1) * step}
            rows = io.BytesIO(client.raw_query(_EXPORT, parameters=span))
            cursor.copy_expert("COPY events FROM STDIN (FORMAT csv)", rows)
        cursor.execute("CREATE INDEX ON events (workspace, event_time)")
        cursor.execute("VACUUM ANALYZE events")
        cursor.execute("SET work_mem = '256MB'")


def test_dashboard_questions_and_bytes(
    clickhouse_server: str, postgres: Any, figures: Any, scale: float, tmp_path: Path
) -> None:
    rows = int(ROWS * scale)
    url = f"{clickhouse_server}/bench_postgresql"
    migrate(url)
    with open_clickhouse(url) as client, postgres.cursor() as cursor:
        fill(client, rows)
        seal_all(client)
        _copy(client, postgres)
        cursor.execute("SELECT count(*) FROM events")
        assert cursor.fetchone() == (rows,)
        for name, (question, sql) in QUESTIONS.items():
            query = MetricQuery(workspace="bench", start=START, end=END, **question)
            ours = _median(lambda query=query: answer(client, query), 9)
            span = {"start": START, "end": END}
            theirs = _median(lambda sql=sql, span=span: (cursor.execute(sql, span), cursor.fetchall()), 3)
            figures.add(
                f"{name}, four weeks, {rows / 1e6:,.0f} M rows",
                f"{ours * 1000:,.0f} ms",
                against=f"PostgreSQL: {theirs * 1000:,.0f} ms",
                ratio=f"{theirs / ours:,.0f} x faster",
                target="at least 10 x",
                reached=theirs >= 10 * ours,
            )
        client.command("OPTIMIZE TABLE events FINAL")
        columns = "('event_time', 'event_id', 'workspace', 'network', 'type', 'actor', 'object', 'campaign')"
        kept = client.query(
            f"""SELECT sum(column_data_compressed_bytes + column_marks_bytes) FROM system.parts_columns
            WHERE active AND database = 'bench_postgresql' AND table = 'events' AND column IN {columns}"""
        ).result_rows[0][0]
        cursor.execute("SELECT pg_table_size('events')")
        table = cursor.fetchone()[0]
        figures.add(
            f"bytes of the rows' table, {rows / 1e6:,.0f} M rows",
            f"{kept / 1e6:,.0f} MB",
            against=f"PostgreSQL, the same columns, without its index: {table / 1e6:,.0f} MB",
            ratio=f"{100 - 100 * kept / table:.0f} % smaller",
            target="at least 60 % smaller",
            reached=kept <= 0.4 * table,
        )
