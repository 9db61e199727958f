"""`dbt build` on a real engine: what the marts hold, what a second run takes in, and that planted faults are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from resources.clickhouse.sql import render
from serving.query import MetricQuery, answer

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
DAY = datetime(2024, 3, 1, tzinfo=UTC)

EVENTS = """
INSERT INTO events
SELECT
    'acme' AS workspace, generateUUIDv4(number) AS event_id,
    ['post.created', 'comment.created', 'share.created', 'reaction.added', 'ad.impression'][number % 5 + 1] AS type,
    ['alpha', 'beta'][intDiv(number, 5) % 2 + 1] AS network, concat('user-', toString(number % 17)) AS actor,
    concat('post-', toString(number % 7)) AS object, '' AS campaign, ['news'] AS topics, '{}' AS properties,
    toDateTime64('2024-03-01 00:00:00', 3, 'UTC') + toIntervalMinute(number * 3) AS occurred_at,
    occurred_at AS received_at, occurred_at AS event_time, 'ok' AS time_flag, 'test' AS sdk, 2 AS schema_version,
    'r1' AS receipt_id, 'content-events' AS log_topic, 0 AS log_partition, number AS log_offset
FROM numbers({first:UInt64}, {count:UInt64})
"""

SLICE = (
    "workspace, event_id, type, network, actor, object, campaign, topics, properties, event_time, received_at, "
    "log_topic, log_partition, log_offset"
)

Dbt = Callable[..., subprocess.CompletedProcess[str]]


def seal_everything(client: Client, at: datetime) -> None:
    """Publish slices, hours and days as they stand in the live events."""
    for dataset, bucket, rows in (
        ("connector_slices", "toStartOfHour(event_time)", f"SELECT {SLICE} FROM events"),
        (
            "engagement_hourly",
            "bucket",
            render("engagement_rollup", source="events", bucket="toStartOfHour(event_time)"),
        ),
        ("engagement_daily", "bucket", render("engagement_rollup", source="events", bucket="toStartOfDay(event_time)")),
    ):
        build = {"build": str(client.query("SELECT generateUUIDv4()").result_rows[0][0]), "at": at}
        counted = "count()" if dataset == "connector_slices" else "sumIf(events, dimension = 'all')"
        client.command(f"INSERT INTO {dataset}_builds SELECT toUUID({{build:String}}), * FROM ({rows})", build)
        client.command(
            "INSERT INTO seals (dataset, bucket, network, build_id, rows, events, checksum, cause, run_id, sealed_at) "
            f"SELECT '{dataset}', {bucket} AS at, network, any(build_id), {counted} AS n, n, 0, 'test', 'run', "
            f"{{at:DateTime64(6, 'UTC')}} FROM {dataset}_builds WHERE build_id = toUUID({{build:String}}) "
            "GROUP BY at, network",
            build,
        )


@pytest.fixture(scope="module")
def dbt(clickhouse_server: str, tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    work = tmp_path_factory.mktemp("dbt")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "dbt"), "--no-use-colors", *arguments]
        command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        command += ["--target-path", str(work / "target"), "--log-path", str(work / "logs")]
        command += ["--vars", "checked_days: 10000"]  # always: other variables would parse the project again
        environment = {**os.environ, "TALLY_CLICKHOUSE_URL": f"{clickhouse_server}/dbt_tests"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def store(clickhouse_server: str) -> Client:
    """Two days of events, all sealed; shared by the tests of this file, which build on each other's state."""
    url = f"{clickhouse_server}/dbt_tests"
    migrate(url)
    client = open_clickhouse(url)
    client.command(EVENTS, {"first": 0, "count": 960})
    seal_everything(client, DAY + timedelta(days=3))
    return client


def test_a_build_passes_and_late_events_reach_the_marts_with_the_next_one(store: Client, dbt: Dbt) -> None:
    first = dbt("build")
    assert first.returncode == 0, first.stdout
    assert_marts_equal_answers(store)

    store.command(EVENTS, {"first": 960, "count": 1})  # the first minute of the third day …
    seal_everything(store, DAY + timedelta(days=4))
    second = dbt("run", "--select", "metric_daily", "engagement_overview_daily")
    assert second.returncode == 0, second.stdout
    assert_marts_equal_answers(store)
    assert store.query("SELECT uniqExact(day) FROM metric_daily").result_rows[0][0] == 3


def assert_marts_equal_answers(store: Client) -> None:
    for metric in ("events", "active_actors", "engagements", "conversation_rate", "conversion_rate_ads"):
        question = MetricQuery(metric, by=("network",), grain="day", start=DAY, end=DAY + timedelta(days=3))
        frame = answer(store, question).frame
        asked = {(row["bucket"].date(), row["network"]): row["value"] for row in frame.to_dicts()}
        for table, value, where in (
            ("metric_daily", "value", f"metric = '{metric}'"),
            ("engagement_overview_daily", metric, "1"),
        ):
            rows = store.query(f"SELECT day, network, {value} FROM {table} WHERE {where}").result_rows
            mart = {(day, network): number for day, network, number in rows if number or (day, network) in asked}
            assert mart == asked, (metric, table)


def test_planted_faults_are_found(store: Client, dbt: Dbt) -> None:
    def failing() -> set[str]:
        done = dbt("test", "--select", "test_type:singular")
        return {line.split(" in test ")[1].split()[0] for line in done.stdout.splitlines() if "Failure in test" in line}

    store.command("DELETE FROM events WHERE log_offset = 411")
    store.command(
        "INSERT INTO events SELECT * REPLACE (412 AS log_offset) FROM (SELECT * FROM events WHERE log_offset = 413)"
    )
    store.command(
        "ALTER TABLE engagement_daily_builds DELETE WHERE dimension = 'object' AND member = 'post-3' "
        "SETTINGS mutations_sync = 2"
    )
    store.command(
        "ALTER TABLE engagement_hourly_builds DELETE WHERE dimension = 'object' AND member = 'post-3' "
        "AND bucket < '2024-03-01 05:00:00' SETTINGS mutations_sync = 2"
    )
    assert failing() == {"accounting_equation", "event_identity", "live_equals_sealed", "days_add_up"}
