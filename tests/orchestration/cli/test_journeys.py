"""What the commands about journeys show; that their numbers are right is shown in tests/serving/journeys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings
from streaming.publisher.sessions import LiveSessions
from tests.orchestration.cli.conftest import event_line

runner = CliRunner()
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def visits(stores: Settings, workers: Any, tmp_path: Path) -> Settings:
    """Ann looks at the home page and the price, and buys; Bob leaves after the home page."""

    def line(number: int, who: str, minute: int, kind: str, page: str) -> str:
        at = (AT + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
        return event_line(number, type=kind, actor=who, object=page, network="shop", occurred_at=at)

    file = tmp_path / "visits.ndjson"
    visits = [
        (1, "ann", 0, "page.viewed", "/"),
        (2, "ann", 1, "page.viewed", "/price"),
        (3, "ann", 3, "ad.converted", "ad1"),
        (4, "bob", 5, "page.viewed", "/"),
        (5, "bob", 70, "page.viewed", "/"),
    ]
    file.write_text("\n".join(line(*visit) for visit in visits))
    assert runner.invoke(app, ["ingest", str(file), "--network", "tally", "--no-wait"]).exit_code == 0
    workers()
    LiveSessions(stores.clickhouse_url).run(AT)
    return stores


def tally(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_sessions_paths_funnel_retention_and_score(visits: Settings) -> None:
    listed = json.loads(tally("sessions", "--json"))
    assert [(s["actor"], s["events"], s["path"]) for s in listed] == [
        ("bob", 1, ["/"]),
        ("bob", 1, ["/"]),
        ("ann", 3, ["/", "/price"]),
    ]
    assert "/ → /price" in tally("sessions", "--actor", "ann")
    assert "2 sessions, the newest; --limit shows more than 2" in tally("sessions", "--limit", "2")
    assert "3 sessions\n" in tally("sessions")
    assert json.loads(tally("query", "sessions", "--grain", "total", "--json"))["rows"][0]["value"] == 3
    assert "/ → /price" in tally("paths", "--length", "2")
    assert "Entry items" in tally("paths", "--ends", "entry")
    steps = ["--step", "page.viewed:/", "--step", "page.viewed:/price", "--step", "ad.converted"]
    given = json.loads(tally("funnel", *steps, "--within", "1h", "--json"))
    assert [step["people"] for step in given["steps"]] == [2, 1, 1]
    assert "50.0%" in tally("funnel", *steps)
    assert "2026-01-05" in tally("retention")
    scored = {row["object"]: row["score"] for row in json.loads(tally("score", "--json"))["rows"]}
    assert scored == {"ad1": 13, "/": 3, "/price": 1}
    assert "version 1" in tally("score", "--by", "network")


def test_facts_are_asked_from_the_quarter_of_an_hour_on_that_a_time_is_in(visits: Settings) -> None:
    """`--from -3h` is no quarter of an hour; the answer names the range it is about."""
    told = json.loads(tally("query", "sessions", "--from", "2026-01-05T09:04:11", "--to", "2026-01-05T10:01", "--json"))
    assert [row["value"] for row in told["rows"]] == [2, 1]  # Bob comes again at 10:10
    told_in_words = tally("query", "sessions", "--from", "2026-01-05T09:04:11", "--to", "2026-01-05T10:01")
    assert "Range [2026-01-05 09:00:00Z, 2026-01-05 10:15:00Z)" in told_in_words
    assert tally("query", "sessions", "--from", "-3h")


def test_nothing_found_is_said(visits: Settings) -> None:
    later = ["--from", "2027-01-01"]
    assert "No session with 3 steps in this range." in tally("paths", *later)
    assert "No session in this range." in tally("retention", *later)
    assert "No event that scores in this range." in tally("score", *later)
    assert "Nobody did step 1, page.viewed:/, in this range." in tally("funnel", "--step", "page.viewed:/", *later)


def test_what_is_wrong_is_named(visits: Settings) -> None:
    for arguments, word in (
        (["funnel", "--step", "page.view"], "page.view"),
        (["funnel", "--step", "page.viewed", "--within", "soon"], "soon"),
        (["paths", "--ends", "middle"], "middle"),
        (["score", "--version", "9"], "versions 1, not 9"),
        (["score", "--by", "type"], "by:"),
        (["sessions", "--from", "now", "--to", "-1h"], "is not before"),
        (["query", "sessions", "--from", "now", "--to", "-1h"], "is not before"),
        (["query", "nonsense"], "docs/metrics.md lists them"),
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert word in result.output
