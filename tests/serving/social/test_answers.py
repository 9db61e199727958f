"""Social answers from stored events: what a post got until the period's end, followers then and now, comparisons."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from analytics.social_benchmark import OwnOnlyError
from contracts.accounts import Accounts, AccountsError, load_accounts
from contracts.envelope import EVENT_SCHEMA
from orchestration.cli.app import app
from serving.errors import UnknownNameError
from serving.social.answers import Period, benchmark, economic_value, followers_of, posts_of, rates_of, readings

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def event(kind: str, at: datetime, actor: str, obj: str = "", **given: Any) -> dict[str, Any]:
    given = {"network": "app", "sdk": "test", "campaign": "", "properties": {}} | given
    return {
        "workspace": "acme", "event_id": str(uuid.uuid4()), "type": kind, "actor": actor, "object": obj, "topics": [],
        "occurred_at": at, "received_at": at, "event_time": at, "time_flag": "ok", "schema_version": 2,
        "receipt_id": "r", "raw": "{}", **given, "properties": json.dumps(given["properties"]),
    }  # fmt: skip


def followers(actor: str, at: datetime, count: Any, **given: Any) -> dict[str, Any]:
    more = given.pop("more", {})
    return event("user.updated", at, actor, properties={"followers": count, **more}, **given)


@pytest.fixture
def stored(platform: Any) -> Any:
    """Ann posts twice and Bob once; Ann grows from 100 to 200 followers."""
    events = [
        followers("ann", NOON - 30 * HOUR, 100),
        event("post.created", NOON, "ann", "p1", campaign="spring"),
        event("post.created", NOON + 2 * HOUR, "ann", "p2"),
        followers("ann", NOON + HOUR, 200, sdk="mapping/x@1"),
        followers("ann", NOON + HOUR, "many"),
        followers("ann", NOON + 3 * HOUR, 9999, more={"followers_provenance": "estimated"}),
        event("post.created", NOON, "bob", "p3"),
        *(event("reaction.added", NOON + HOUR, f"u{n}", "p1") for n in range(6)),
        *(event("content.viewed", NOON + HOUR, f"u{n % 2}", "p1") for n in range(4)),
        event("comment.created", NOON + HOUR, "u1", "p2"),
        event("share.created", NOON + HOUR, "u1", "p3"),
        event("reaction.added", NOON + 5 * HOUR, "late", "p1"),
        event("reaction.added", NOON, "u1", "another network's", network="other"),
    ]
    platform.send(pl.DataFrame(events, schema=EVENT_SCHEMA), at=NOON + 6 * HOUR)
    return platform


PERIOD = Period(NOON - HOUR, NOON + 4 * HOUR, network="app")


def test_posts_with_what_they_got_until_the_end_and_whose_followers(stored: Any) -> None:
    found = {row["post"]: row for row in posts_of(stored.clickhouse, PERIOD).to_dicts()}
    assert list(found) == ["p1", "p2", "p3"]
    first = found["p1"]
    assert (first["reactions"], first["views"], first["reach"], first["campaign"]) == (6, 4, 2, "spring")
    assert (first["followers_then"], first["followers_end"]) == (100, 200)
    assert (found["p2"]["followers_then"], found["p3"]["followers_then"]) == (200, None)


def test_rates_pooled_and_as_the_mean_of_networks(stored: Any) -> None:
    posts = posts_of(stored.clickhouse, PERIOD)
    rows = {row["account"]: row for row in rates_of(posts, "account").to_dicts()}
    assert (rows["ann"]["applause_rate"], rows["ann"]["conversation_rate"]) == (3, 0.5)
    assert rows["ann"]["relative_applause_rate_post_time"] == pytest.approx(3 / 150 * 1000)
    assert rows["ann"]["relative_applause_rate_period_end"] == pytest.approx(3 / 200 * 1000)
    assert rows["bob"]["relative_applause_rate_post_time"] is None
    assert rows["pooled"]["applause_rate"] == 2
    assert rates_of(posts, "network")["network"].to_list() == ["app", "pooled", "mean of networks"]


def test_followers_with_provenance_and_growth(stored: Any) -> None:
    period = Period(NOON - 31 * HOUR, NOON + 4 * HOUR)
    told = readings(stored.clickhouse, period).select("followers", "provenance").rows()
    assert told == [(100, "observed"), (200, "imported"), (9999, "estimated")]
    found = followers_of(stored.clickhouse, period, timedelta(days=1)).row(0, named=True)
    assert (found["account"], found["by_readings"], found["rate"], found["readings"]) == ("ann", 150, 1, 2)


def accounts(own: list[str], competitors: list[str]) -> Accounts:
    both = {"own": own, "competitors": competitors}
    return Accounts.model_validate(
        {"version": 1, **{k: [{"network": "app", "account": a} for a in names] for k, names in both.items()}}
    )


def test_accounts_are_compared_and_what_only_owners_know_is_refused(stored: Any) -> None:
    setting = accounts(["ann"], ["bob", "nobody"])
    found = benchmark(stored.clickhouse, PERIOD, "posts", setting)
    assert found.select("account", "posts", "share_of_max", "own").rows() == [
        ("app/ann", 2, 1, True), ("app/bob", 1, 0.5, False), ("app/nobody", 0, 0, False),
    ]  # fmt: skip
    rates = benchmark(stored.clickhouse, PERIOD, "applause_rate", setting)
    assert rates["applause_rate"].to_list() == [3, 0, None]
    with pytest.raises(OwnOnlyError, match="by_views cannot be told of app/bob, app/nobody: views are known"):
        benchmark(stored.clickhouse, PERIOD, "by_views", setting)
    assert benchmark(stored.clickhouse, PERIOD, "by_views", accounts(["ann"], []))["by_views"].item() == 1.75
    with pytest.raises(UnknownNameError, match="unknown metric of accounts 'fame'"):
        benchmark(stored.clickhouse, PERIOD, "fame", setting)


def test_an_account_cannot_be_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text("version: 1\nown: [{network: a, account: b}]\ncompetitors: [{network: a, account: b}]\n")
    with pytest.raises(AccountsError, match=r"accounts.yaml: .*a/b cannot be both own and a competitor"):
        load_accounts(path)
    assert load_accounts().version >= 1


def test_goal_values_of_networks_sum_to_all_of_it(stored: Any) -> None:
    found = economic_value(stored.clickhouse, PERIOD)
    assert found.columns == ["network", "goal_value", "sessions", "value_per_session"]
    *networks, total = found.to_dicts()
    assert total["network"] == "total"
    assert total["goal_value"] == sum(row["goal_value"] for row in networks)
    assert total["sessions"] == sum(row["sessions"] for row in networks)


def test_a_provenance_that_does_not_exist_is_named(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", stored.clickhouse_url)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    refused = CliRunner().invoke(app, ["social", "followers", "--provenance", "guessed"])
    assert refused.exit_code == 2
    assert "unknown provenance 'guessed'; valid: estimated, imported, interpolated, observed" in refused.output


def test_economic_value_is_asked_by_the_quarters_that_the_range_touches(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--from -7d`, the default, is no quarter of an hour."""
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", stored.clickhouse_url)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    assert CliRunner().invoke(app, ["social", "value"]).exit_code == 0
    shown = CliRunner().invoke(app, ["social", "value", "--from", "2026-03-10T11:04:59", "--to", "2026-03-10T15:46"])
    assert "Range [2026-03-10 11:00:00Z, 2026-03-10 16:00:00Z)" in shown.stdout


def test_a_comparison_that_cannot_be_made_is_refused_with_the_reason(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", stored.clickhouse_url)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    path = tmp_path / "accounts.yaml"
    path.write_text("version: 3\nown: [{network: app, account: ann}]\n")
    of_a_site = CliRunner().invoke(app, ["social", "benchmark", "economic_value", "--accounts", str(path)])
    assert (of_a_site.exit_code, "sessions belong to a site" in of_a_site.output) == (2, True)
    path.write_text("version: 3\n")
    of_nobody = CliRunner().invoke(app, ["social", "benchmark", "posts", "--accounts", str(path)])
    assert (of_nobody.exit_code, "names no accounts" in of_nobody.output) == (2, True)


@pytest.mark.parametrize(
    "command", ["rates", "engagement", "posts", "density", "campaign spring", "followers", "value", "benchmark posts"]
)
def test_every_command_answers_in_words_and_in_json(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", stored.clickhouse_url)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    words = ["social", *command.split(), "--from", PERIOD.start.isoformat(), "--to", PERIOD.end.isoformat()]
    if command.startswith("benchmark"):
        path = tmp_path / "accounts.yaml"
        path.write_text("version: 3\nown: [{network: app, account: ann}]\n")
        words += ["--accounts", str(path)]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "Range [2026-03-10 11:00:00Z, 2026-03-10 16:00:00Z)" in shown.stdout
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["rows"]
