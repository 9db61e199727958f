"""Seals and the live progress: what readers are pointed to is audited like the rows themselves."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings
from resources.clickhouse import open_clickhouse

runner = CliRunner()
HOUR = "bucket = toDateTime('2026-01-05 01:00:00', 'UTC')"
SYNC = "SETTINGS mutations_sync = 1"
AN_HOUR = f"dataset = 'engagement_hourly' AND {HOUR}"
DAY = "dataset = 'engagement_daily'"
COLUMNS = "dataset, bucket, network, build_id, rows, events, checksum, cause, run_id"
EMPTY = f"INSERT INTO seals ({COLUMNS}) SELECT dataset, bucket, network, generateUUIDv4(), 0, 0, 0, 'x', 'x' FROM seals"


def tally(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return json.loads(result.stdout)


@pytest.fixture
def client(stores: Settings, workers: Any, day: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Three sealed hours of 100 events each, and their day. Nothing is written but what a test writes."""
    monkeypatch.setattr("serving.audit.engine.PAUSE", 0.0)
    tally("ingest", str(day), "--network", "tally", "--no-wait")
    workers()
    tally("seal", "--from", "2026-01-01")
    return open_clickhouse(stores.clickhouse_url)


def events_of_the_hour() -> int:
    """What a user is told of the hour that the tests forge."""
    found = tally(
        "query", "events", "--grain", "hour", "--from", "2026-01-05T01:00:00Z", "--to", "2026-01-05T02:00:00Z"
    )
    return sum(row["value"] or 0 for row in found["rows"])


def assert_named_and_repaired(place: str, column: str, kind: str = "changed") -> dict[str, Any]:
    found = tally("audit", "--store", "seals", code=1)["findings"]
    named = [row for row in found if (row["place"], row["columns"], row["kind"]) == (place, column, kind)]
    assert named, found
    assert named[0]["network"] == "app"
    assert named[0]["expected"] != named[0]["found"]
    tally("repair")
    assert tally("audit")["clean"] is True
    assert tally("verify")["ok"] is True
    first: dict[str, Any] = named[0]
    return first


def test_a_forged_seal_of_an_empty_build_is_named_and_restated(client: Client) -> None:
    assert events_of_the_hour() == 100
    client.command(f"{EMPTY} WHERE {AN_HOUR}")
    assert events_of_the_hour() == 0
    found = assert_named_and_repaired("engagement_hourly", "build_id", "unexpected")
    assert found["bucket"].startswith("2026-01-05T01:00")
    assert events_of_the_hour() == 100
    restated = client.query(
        f"SELECT sum(new_value) FROM restatements WHERE cause = 'repair' AND {AN_HOUR} AND metric = 'events' "
        "AND dimension = 'all'"
    )
    assert restated.result_rows == [(100,)]


PLANTS = {
    "an hour's rows": (f"ALTER TABLE seals UPDATE rows = rows + 3 WHERE {AN_HOUR} {SYNC}", "engagement_hourly", "rows"),
    "an hour's events": (
        f"ALTER TABLE seals UPDATE events = events + 1 WHERE {AN_HOUR} {SYNC}",
        "engagement_hourly",
        "events",
    ),
    "an hour's checksum": (
        f"ALTER TABLE seals UPDATE checksum = checksum + 3 WHERE {AN_HOUR} {SYNC}",
        "engagement_hourly",
        "checksum",
    ),
    "a slice's rows": (
        f"ALTER TABLE seals UPDATE rows = rows + 3 WHERE dataset = 'connector_slices' AND {HOUR} {SYNC}",
        "connector_slices",
        "rows",
    ),
    "a slice's events, which would hide late ones": (
        f"ALTER TABLE seals UPDATE events = events + 9 WHERE dataset = 'connector_slices' AND {HOUR} {SYNC}",
        "connector_slices",
        "events",
    ),
    "a day's checksum": (f"ALTER TABLE seals UPDATE checksum = 1 WHERE {DAY} {SYNC}", "engagement_daily", "checksum"),
    "a time that has not come": (
        "INSERT INTO seals SELECT * REPLACE (now64(6, 'UTC') + INTERVAL 1 DAY AS sealed_at) FROM seals"
        f" WHERE {AN_HOUR}",
        "engagement_hourly",
        "sealed_at",
    ),
}


def test_a_seal_that_says_something_else_than_its_build(client: Client) -> None:
    for statement, place, column in PLANTS.values():
        client.command(statement)
        assert_named_and_repaired(place, column)
    assert tally("repair")["repaired"] is False


def test_a_forged_day_and_an_empty_slice_are_named(client: Client) -> None:
    client.command(f"{EMPTY} WHERE {DAY}")
    assert_named_and_repaired("engagement_daily", "build_id", "unexpected")
    client.command(f"{EMPTY} WHERE dataset = 'connector_slices' AND {HOUR}")
    assert_named_and_repaired("connector_slices", "build_id", "unexpected")


def test_deleted_seals_are_missed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.command(f"ALTER TABLE seals DELETE WHERE {AN_HOUR} {SYNC}")
    named = tally("audit", "--store", "seals", code=1)["findings"]  # its day is made of it
    assert [row for row in named if row["place"] == "engagement_hourly"] == []  # a sealing may be at work on it
    monkeypatch.setattr("serving.audit.seals.STAGED", timedelta(0))
    assert_named_and_repaired("engagement_hourly", "source_build_id", "missing")
    client.command(f"ALTER TABLE seals DELETE WHERE dataset = 'connector_slices' AND {HOUR} {SYNC}")
    assert_named_and_repaired("connector_slices", "build_id", "missing")


def test_live_progress_is_what_the_events_say(client: Client) -> None:
    client.command(f"ALTER TABLE live_progress DELETE WHERE log_partition = 0 {SYNC}")
    client.command(f"ALTER TABLE live_progress UPDATE events = events + 1 WHERE log_partition = 1 {SYNC}")
    found = tally("audit", "--store", "live rollups", code=1)["findings"]
    assert {(row["place"], row["kind"]) for row in found} == {
        ("live_progress content-events/0", "missing"),
        ("live_progress content-events/1", "changed"),
    }
    assert tally("repair")["repaired"] is True
    assert tally("audit")["clean"] is True
