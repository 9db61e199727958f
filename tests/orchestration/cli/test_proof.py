"""Loading, asking and proving through the command line, on real stores; then a row is taken away by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings
from resources.clickhouse import open_clickhouse

runner = CliRunner()


def tally(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return json.loads(result.stdout)


@pytest.fixture
def loaded(stores: Settings, workers: Any, day: Path) -> Settings:
    account = tally("ingest", str(day), "--network", "tally", "--no-wait", code=0)
    assert (account["read"], account["accepted"]) == (312, 310)
    workers()
    return stores


def test_the_ledger_balances_and_names_a_row_that_was_taken_away(loaded: Settings) -> None:
    rows = tally("ledger")["rows"]
    raw = [row for row in rows if row["group"] == "raw"]
    assert sum(row["stored"] for row in raw) == 300
    assert sum(row["duplicate"] for row in raw) == 10
    assert sum(row["quarantined"] for row in raw) == 2

    client = open_clickhouse(loaded.clickhouse_url)
    victim = client.query("SELECT log_partition, log_offset FROM events ORDER BY event_id LIMIT 1").result_rows[0]
    where = f"log_partition = {victim[0]} AND log_offset = {victim[1]}"
    client.command(f"ALTER TABLE events DELETE WHERE {where} SETTINGS mutations_sync = 1")
    broken = [row for row in tally("ledger", code=1)["rows"] if not row["balanced"]]
    assert [(row["group"], row["partition"], row["holes"]) for row in broken] == [("live", victim[0], [victim[1]])]
    assert tally("verify", code=1)["balanced"] is False
    told = runner.invoke(app, ["ledger"])
    assert told.exit_code == 1
    assert f"content-events/{victim[0]}: 1 missing ({victim[1]})" in told.stdout
    assert "tally repair" in tally("gaps", code=1)["gaps"][0]["command"]


def live_state(settings: Settings) -> list[Any]:
    """Everything live that a query can see."""
    client = open_clickhouse(settings.clickhouse_url)
    statements = (
        "SELECT toString(event_id), log_partition, log_offset FROM events ORDER BY ALL",
        "SELECT log_topic, log_partition, log_offset, verdict FROM live_rejects FINAL ORDER BY ALL",
        "SELECT bucket, type, dimension, member, sum(events), uniqExactMerge(actors) FROM live_engagement_minute"
        " GROUP BY ALL ORDER BY ALL",
        "SELECT bucket, type, dimension, member, sum(events), uniqExactMerge(actors) FROM live_engagement_hour"
        " GROUP BY ALL ORDER BY ALL",
        "SELECT hex(event_key), log_partition, log_offset FROM event_positions ORDER BY ALL",
    )
    return [client.query(statement).result_rows for statement in statements]


def test_replay_writes_again_what_was_taken_away_and_only_that(loaded: Settings) -> None:
    before = live_state(loaded)
    client = open_clickhouse(loaded.clickhouse_url)
    for table, where in (("events", "actor = 'u3'"), ("live_rejects", "verdict = 'quarantined'")):
        client.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 1")
    tally("ledger", code=1)

    report = tally("replay", "--from", "-1h", "--to", "+1h", "--no-seal")["replay"]
    assert report["live"] == {"stored": 43, "duplicate": 0, "quarantined": 2}
    assert report["raw"] == {"stored": 0, "duplicate": 0, "quarantined": 0}
    assert live_state(loaded) == before

    again = tally("replay", "--from", "-1h", "--to", "+1h", "--no-seal")["replay"]
    assert again["live"] == {"stored": 0, "duplicate": 0, "quarantined": 0}
    assert again["rebuilt_hours"] == 0
    assert live_state(loaded) == before


def test_a_replay_that_died_before_the_rollups_is_completed_by_the_next(loaded: Settings) -> None:
    before = live_state(loaded)
    client = open_clickhouse(loaded.clickhouse_url)
    client.command("ALTER TABLE live_engagement_minute DELETE WHERE member = '' SETTINGS mutations_sync = 1")
    report = tally("replay", "--from", "-1h", "--to", "+1h", "--no-seal")["replay"]
    assert report["rebuilt_hours"] == 3
    assert live_state(loaded) == before


def test_live_tables_built_anew_are_the_same(loaded: Settings) -> None:
    before = live_state(loaded)
    report = tally("replay", "--live")["replay"]
    assert report["live"] == {"stored": 300, "duplicate": 10, "quarantined": 2}
    assert live_state(loaded) == before


def test_a_query_names_its_unit_and_how_complete_it_is(loaded: Settings) -> None:
    answer = tally("query", "active_actors", "--by", "network", "--grain", "day")
    assert [(row["network"], row["value"], row["complete"]) for row in answer["rows"]] == [("app", 7, False)]
    assert answer["unit"] == "actors"
    told = runner.invoke(app, ["query", "events", "--grain", "hour"]).stdout
    assert "events by hour" in told
    assert told.count("100") >= 3
    assert "Complete through" in told


def test_sql_is_read_only(loaded: Settings) -> None:
    assert tally("sql", "SELECT count() AS n FROM events") == [{"n": 300}]
    refused = tally("sql", "TRUNCATE TABLE events", code=2)
    assert "readonly" in refused["error"]["message"].lower()
    assert tally("sql", "SELECT count() AS n FROM events") == [{"n": 300}]


def test_sql_with_a_mistake_shows_clickhouses_words(loaded: Settings) -> None:
    assert "no_such_column" in tally("sql", "SELECT no_such_column FROM events", code=2)["error"]["message"]


def test_duckdb_without_an_archive_says_how_to_get_one(loaded: Settings) -> None:
    error = tally("sql", "--engine", "duckdb", "SELECT 1 FROM raw", code=2)["error"]
    assert "holds no part yet" in error["message"]
    assert "tally seal" in error["hint"]


def test_verify_without_a_sealed_hour_has_nothing_to_compare(loaded: Settings) -> None:
    found = tally("verify")
    assert found["ok"] is True
    assert found["hours"] == []
    assert (found["totals"]["raw"], found["totals"]["live"]) == (300, 300)
