"""`tally trends` shows the board to people and to programs, now and as of then."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.cli.trends import sparkline
from orchestration.settings import Settings
from streaming.publisher.trends import TrendTask

RUN = CliRunner()


@pytest.fixture
def trending(
    stores: Settings, workers: Any, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> datetime:
    """A crowd, and a bot among a few people, in the last minute of a network known for long; returns when published."""
    redis.Redis.from_url(redis_server.url).flushall()
    now = datetime.now(UTC)
    lines = []

    def post(actor: str, tag: str, seconds_ago: float) -> None:
        at = now - timedelta(seconds=seconds_ago)
        number = len(lines)
        event = {
            "event_id": f"01890000-0000-7000-8000-{number:012d}", "type": "post.created", "network": "app",
            "actor": actor, "object": "", "topics": [tag], "occurred_at": at.isoformat(),
        }  # fmt: skip
        lines.append(json.dumps(event))

    post("u0", "old", 5000)
    for number in range(60):
        post(f"u{number}", "Big_News", 1 + number / 10)
    for number in range(300):
        post(f"v{number}" if number < 8 else "bot", "spam", 1 + number / 50)
    file = tmp_path / "posts.ndjson"
    file.write_text("\n".join(lines))
    monkeypatch.setenv("TALLY_CACHE_URL", redis_server.url)
    assert RUN.invoke(app, ["ingest", str(file), "--network", "tally", "--no-wait"]).exit_code == 0
    workers()
    TrendTask(stores.clickhouse_url, redis_server.url).run(now)
    return now


def test_people_and_programs_see_the_same_board(trending: datetime) -> None:
    shown = RUN.invoke(app, ["trends", "--window", "1m"])
    assert shown.exit_code == 0, shown.output
    first, second = (line for line in shown.output.splitlines() if "big_news" in line or "spam" in line)
    assert "big_news" in first
    assert "one actor made most of it (97% by one)" in second
    told = json.loads(RUN.invoke(app, ["trends", "--window", "1m", "--network", "app", "--json"]).output)
    assert [entry["topic"] for entry in told[0]["entries"]] == ["bignews", "spam"]
    assert told[0]["source"] == "cache"
    assert sum(told[0]["entries"][0]["actors_by_minute"]) == 60
    before = (trending - timedelta(minutes=5)).isoformat()
    earlier = json.loads(RUN.invoke(app, ["trends", "--as-of", before, "--workspace", "demo", "--json"]).output)
    assert earlier[0]["entries"] == []
    then = RUN.invoke(app, ["trends", "--window", "1m", "--as-of", trending.isoformat()]).output
    assert "big_news" in then
    assert "0.0 s ago" in then  # entered with the hop it is of, which ends later than the board was made
    assert "nothing has renewed it" not in then
    late = RUN.invoke(app, ["trends", "--window", "1m", "--as-of", datetime.now(UTC).isoformat()])
    assert late.exit_code == 0


def test_what_cannot_be_shown_is_said() -> None:
    refused = RUN.invoke(app, ["trends", "--watch", "--json"])
    assert refused.exit_code == 2
    assert "leave out --as-of and --json" in refused.output
    refused = RUN.invoke(app, ["trends", "--as-of", "+3h"])
    assert refused.exit_code == 2
    assert "is in the future" in refused.output


def test_a_sparkline_shows_the_largest_full_and_nothing_as_nothing() -> None:
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([]) == ""
