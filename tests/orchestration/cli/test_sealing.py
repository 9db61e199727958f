"""Sealing through the command line: what is sealed is what was live, and an hour that is closed stays sealed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from assets.raw_events.process import Stores, archive_hour
from orchestration.cli.app import app
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, raw_store
from resources.archive import open_archive
from resources.clickhouse import open_clickhouse
from streaming.collector.app import build_app
from streaming.collector.config import CollectorConfig, parse_write_keys

runner = CliRunner()
RANGE = ("--from", "2026-01-05", "--to", "2026-01-06")


def tally(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return json.loads(result.stdout)


@pytest.fixture
def sealed(stores: Settings, workers: Any, day: Path) -> Settings:
    """300 events of three hours, and the same file once more: a second archive part that adds no event."""
    tally("ingest", str(day), "--network", "tally", "--no-wait")
    workers()
    first = {row["dataset"]: row for row in tally("seal", *RANGE)["datasets"]}
    assert (first["engagement_hourly"]["published"], first["engagement_daily"]["published"]) == (3, 1)
    tally("ingest", str(day), "--network", "tally", "--no-wait")
    workers()
    return stores


def test_what_is_sealed_is_what_was_live(sealed: Settings) -> None:
    found = tally("verify", *RANGE)
    assert found["verdicts"] == {"equal": 3}
    assert set(found["totals"].values()) == {300}
    answer = tally("query", "active_actors", *RANGE, "--grain", "day")
    assert [row["value"] for row in answer["rows"]] == [7]
    duckdb = tally("sql", "--engine", "duckdb", "SELECT count(*) AS n, count(DISTINCT actor) AS a FROM raw")
    assert duckdb == [{"n": 300, "a": 7}]
    for forbidden in ("COPY (SELECT 1) TO 'out.csv'", "CREATE TABLE t (n INT)", "SELECT * FROM read_text('LICENSE')"):
        tally("sql", "--engine", "duckdb", forbidden, code=2)


def test_closing_the_ingest_hour_leaves_nothing_to_seal(sealed: Settings) -> None:
    tally("seal", *RANGE)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with event_log(sealed) as log, raw_store(sealed) as store:
        archive = open_archive(sealed.archive_url)
        for start in (hour - timedelta(hours=1), hour):
            client = open_clickhouse(sealed.clickhouse_url)
            archive_hour(Stores(log, store, archive, client), start, hour + timedelta(hours=2))
        assert sum(part.rows for part in archive.parts()) == 300
    assert tally("seal", *RANGE)["datasets"] == []
    assert tally("gaps")["ok"] is True


def test_replay_puts_an_index_of_the_archive_right_that_names_parts_no_longer_there(sealed: Settings) -> None:
    client = open_clickhouse(sealed.clickhouse_url)
    client.command(
        "INSERT INTO archive_contents (path, ingest_hour, event_hour, network, rows, sha256)"
        " SELECT concat(path, '.gone'), ingest_hour, event_hour, network, rows, sha256 FROM archive_contents"
    )
    late = tally("gaps")["on_its_way"]  # the index names rows that no seal has counted
    assert [gap["rows"] for gap in late] == [100, 100, 100]
    report = tally("replay", "--from", "-1h", "--to", "+1h")
    assert report["replay"]["reindexed_parts"] == 1
    assert tally("gaps")["on_its_way"] == []


def test_a_time_that_is_none_is_refused_before_anything_is_done(stores: Settings) -> None:
    assert "'someday'" in tally("seal", "--from", "someday", code=2)["error"]["message"]


def test_an_event_is_followed_through_every_store(sealed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    known = "01890000-0000-7000-8000-000000000020"
    found = tally("event", known.upper())
    assert found["raw"]["event_id"] == known
    assert [row["position"] for row in found["live"]] == [found["position"]]
    assert found["appended_at"]
    assert [(row["verdict"], row["position"] != found["position"]) for row in found["verdicts"]] == [
        ("duplicate", True)
    ]
    assert (len(found["archive_parts"]), len(found["builds"])) == (1, 1)
    shown = runner.invoke(app, ["event", known]).stdout
    for text in (found["position"], found["receipt_id"], found["builds"][0]["build"], found["archive_parts"][0]):
        assert text in shown
    tally("event", "01890000-0000-7000-8000-999999999999", code=1)
    tally("event", "20", code=2)

    keys = parse_write_keys(sealed.write_keys.get_secret_value())
    with TestClient(build_app(CollectorConfig(sealed.event_log_url, keys, sealed.raw_store_url))) as client:
        monkeypatch.setattr("httpx.get", lambda url, headers, timeout: client.get(url, headers=headers))
        receipt = tally("receipt", found["receipt_id"])
        assert (receipt["stored"], receipt["duplicate"], receipt["settled"]) == (300, 10, True)
        assert found["receipt_id"] in runner.invoke(app, ["receipt", found["receipt_id"]]).stdout
        tally("receipt", "none", code=1)
