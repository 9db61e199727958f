"""What `tally query` and `tally sql` show: whole buckets, few empty lines, rows that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings
from tests.orchestration.cli.conftest import event_line

runner = CliRunner()


@pytest.fixture
def sparse(stores: Settings, workers: Any, tmp_path: Path) -> Settings:
    """Events of three hours of 5 January and of one hour of 8 January 2026."""
    file = tmp_path / "sparse.ndjson"
    late = event_line(900, occurred_at="2026-01-08T05:30:00Z")
    file.write_text("\n".join([*(event_line(number) for number in range(30)), late]))
    assert runner.invoke(app, ["ingest", str(file), "--network", "tally", "--no-wait"]).exit_code == 0
    workers()
    return stores


def tally(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_many_empty_buckets_are_one_line_and_json_has_them_all(sparse: Settings) -> None:
    told = tally("query", "events")
    assert "… 74 empty hours …" in told
    assert len(told.splitlines()) < 20
    assert len(json.loads(tally("query", "events", "--json"))["rows"]) == 3 + 74 + 1
    assert "… 74 empty hours …" in tally("query", "conversation_rate")


def test_a_number_is_explained_down_to_its_log_offsets(sparse: Settings) -> None:
    document = json.loads(tally("explain", "events", "--at", "2026-01-08T05:10", "--json"))
    assert (document["rows"][0]["value"], document["counted_at_offsets"], document["proven"]) == (1, [1], True)
    assert [(each["topic"], each["events"]) for each in document["offsets"]] == [("content-events", 1)]
    told = tally("explain", "events", "--at", "2026-01-08T05:10")
    for word in ("count of events", "content-events/", "proven", "SELECT", "Never restated"):
        assert word in told
    assert runner.invoke(app, ["explain", "evnts", "--at", "-1h"]).exit_code == 2


def test_rows_too_wide_for_a_table_are_records(sparse: Settings) -> None:
    wide = tally("sql", "SELECT * FROM events ORDER BY event_id LIMIT 2")
    assert "── row 2 ──" in wide
    assert max(map(len, wide.splitlines())) <= 160
    assert [line.split() for line in wide.splitlines() if line.startswith("network")] == [["network", "app"]] * 2
    narrow = tally("sql", "SELECT type, count() AS events FROM events GROUP BY type")
    assert "row 1" not in narrow
    assert "post.created       31" in narrow


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')", "SELECT 1 SETTINGS readonly = 0", "SYSTEM FLUSH LOGS"],
)
def test_sql_leaves_everything_else_alone(stores: Settings, statement: str) -> None:
    result = runner.invoke(app, ["sql", statement])
    assert result.exit_code == 2, result.output
    assert "ClickHouse refused the statement: " in result.stderr
    assert len(result.stderr.splitlines()) == 1
