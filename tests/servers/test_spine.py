"""The spine on servers, whole: rows over HTTP → Kafka → MongoDB's protocol and ClickHouse → archive on S3 → Dagster on
PostgreSQL, with the run queue, two code servers and runs in processes of their own → sealed.

As a person would do it: the `tally` command line and Dagster's API, in processes of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient
from whole_stack import Stack, wait_until_read

from deploy.servers import postgresql
from orchestration.settings import Settings

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gql"),  # Dagster's own client
]

GB = 1024**3


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Events of three hours of a day long past."""
    return [
        {
            "event_id": f"01890000-0000-7000-8000-{number:012d}",
            "type": ("post.created", "reaction.added", "ad.clicked", "user.signed_in")[number % 4],
            "actor": f"u{number % 7}",
            "object": f"o{number % 5}",
            "occurred_at": f"2026-01-05T{number % 3:02d}:{number % 60:02d}:00Z",
        }
        for number in range(first, first + count)
    ]


def run_job(stack: Stack, name: str, location: str, config: dict[str, Any]) -> str:
    """Through Dagster's API: queued, launched by the daemon, run in a process of its own. Returns the run's id."""
    client = DagsterGraphQLClient("127.0.0.1", port_number=stack.ports["dagster"], timeout=60)
    run_id: str = client.submit_job_execution(name, repository_location_name=location, run_config=config)
    deadline = time.monotonic() + 240
    while (status := client.get_run_status(run_id)) is not DagsterRunStatus.SUCCESS:
        assert status not in {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}, f"run {run_id} is {status}"
        assert time.monotonic() < deadline, f"run {run_id} is {status}"
        time.sleep(0.5)
    return run_id


def runs_in_postgresql(stack: Stack) -> dict[str, str]:
    """Job by run id, as Dagster's storage in PostgreSQL has it."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=stack.ports["postgresql"],
        user=postgresql.USER,
        password=postgresql.password(stack.home / "postgresql"),
        dbname=postgresql.DATABASE,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT run_id, pipeline_name FROM runs")
        found = dict(cursor.fetchall())
    connection.close()
    return found


def test_the_spine_on_servers(stack: Stack) -> None:
    urls = stack.tally("up", "--engines", "servers")["urls"]
    assert urls["Event log"] == f"kafka://127.0.0.1:{stack.ports['kafka']}"

    assert stack.post(rows(0, 900))["accepted"] == 900
    again = stack.post([*rows(800, 200), {"event_id": "no"}])
    assert (again["accepted"], again["quarantined"]) == (200, 1)
    wait_until_read(stack, 1101)
    assert stack.tally("ledger")["balanced"] is True
    status = stack.tally("status")
    assert {process["state"] for process in status["processes"]} == {"RUNNING"}
    assert {"kafka", "mongodb", "s3", "postgresql"} <= {process["name"] for process in status["processes"]}
    assert status["memory"] < 3 * GB
    assert status["quarantine_open"] == 1

    worker = next(process["pid"] for process in status["processes"] if process["name"] == "worker-raw")
    os.kill(worker, signal.SIGSTOP)
    assert stack.post(rows(0, 70))["accepted"] == 70
    lag = {each["group"]: each for each in stack.tally("status")["lag"]}["raw"]
    assert lag["messages"] == 70
    assert lag["seconds"] > 0
    os.kill(worker, signal.SIGCONT)
    wait_until_read(stack, 1171)

    now = datetime.now(UTC).isoformat()
    config = {"ops": {"seal_range": {"config": {"start": "2026-01-05T00:00:00+00:00", "end": now}}}}
    run_id = run_job(stack, "seal", "batch", config)
    assert runs_in_postgresql(stack)[run_id] == "seal"
    assert not list((stack.home / "dagster").rglob("*.db")), "Dagster kept something in SQLite"
    parts = [path for path in (stack.home / "s3" / "data").rglob("*.parquet") if path.is_file()]
    assert parts, "nothing was archived on S3"

    verified = stack.tally("verify")
    assert (verified["ok"], verified["verdicts"].keys()) == (True, {"equal"})
    assert stack.tally("ledger")["balanced"] is True
    days = stack.tally("query", "events", "--grain", "day", "--from", "2026-01-05", "--to", "2026-01-06")["rows"]
    assert [row["value"] for row in days] == [1000]

    stack.tally("down")
    stack.tally("up")  # everything is where it was
    assert stack.post(rows(0, 300))["accepted"] == 300
    wait_until_read(stack, 1471)
    assert stack.tally("ledger")["balanced"] is True
    assert stack.tally("verify")["ok"] is True


def test_a_home_keeps_its_kind_of_engines(stack: Stack) -> None:
    settings = Settings(home=stack.home)
    (stack.home / "clickhouse").mkdir(parents=True)
    assert settings.engines == "embedded"
    refused = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "up", "--engines", "servers"],
        env={**os.environ, "TALLY_HOME": str(stack.home), "NO_COLOR": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "holds the data (clickhouse) of a stack on embedded engines" in " ".join(refused.stderr.split())
