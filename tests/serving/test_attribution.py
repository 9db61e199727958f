"""Six models side by side, before a day is sealed and after it; maturity; segments of few people stay hidden."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from contracts.ads import MODELS
from orchestration.cli.app import app
from serving.attribution import Attribution, AttributionQuery, compare, maturity, segments
from serving.errors import QueryError, UnknownNameError
from streaming.publisher.live_ads import refresh_live_ads
from tests.assets.ads.test_building_ads import ad_event, frame

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
START, END = NOON - timedelta(days=9), NOON + timedelta(hours=12)
MONEY = {"currency": "USD"}


def clicks_and_purchases() -> list[dict[str, Any]]:
    """Ann sees two campaigns and buys for 1,000; Bob, whom nothing touched, for 300; a bot buys for 5,000."""
    day = timedelta(days=1)
    return [
        ad_event("clicked", NOON - 7 * day, "ann", campaign="spring", device="ios", amount_minor=50, **MONEY),
        ad_event("viewed", NOON - timedelta(hours=24), "ann", campaign="summer", device="web"),
        ad_event("viewed", NOON - timedelta(hours=24, milliseconds=1), "ann", campaign="too old"),
        ad_event("converted", NOON, "ann", campaign="summer", amount_minor=1000, **MONEY),
        ad_event("converted", NOON, "bob", amount_minor=300, **MONEY),
        ad_event("converted", NOON, "bot", amount_minor=5000, bot=True, **MONEY),
        ad_event("impression", NOON + timedelta(days=1, hours=2), "eve"),  # the day is over
    ]


@pytest.fixture(params=["live", "sealed"])
def asked(request: Any, platform: Any) -> Any:
    """The platform with these events, as readers see them before and after sealing."""
    platform.send(frame(clicks_and_purchases()), at=NOON + timedelta(days=1, hours=2))
    refresh_live_ads(platform.clickhouse, datetime.now(UTC))
    if request.param == "sealed":
        stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
        assert not seal_range(stores, SealRequest(START - timedelta(days=2), END), "test", lambda _t: None).failed
    return platform


def ask(platform: Any, **given: Any) -> Attribution:
    return compare(platform.clickhouse, AttributionQuery(START, END, **given), settled=NOON)


def earned(found: Attribution, model: str) -> dict[str, int]:
    return dict(found.frame.select("member", f"revenue_{model}").iter_rows())


def test_all_models_side_by_side_with_what_no_touch_earned(asked: Any) -> None:
    found = ask(asked)
    assert found.frame["member"].to_list()[-2:] == ["unattributed", "total"]
    for model in MODELS:
        assert earned(found, model)["unattributed"] == 300
        assert earned(found, model)["total"] == 1300
        assert found.frame.filter(member="total")[f"credit_{model}"].item() == 2_000_000
    assert earned(found, "first") == {"spring": 1000, "summer": 0, "unattributed": 300, "total": 1300}
    assert earned(found, "last") == {"spring": 0, "summer": 1000, "unattributed": 300, "total": 1300}
    assert earned(found, "linear") == {"spring": 500, "summer": 500, "unattributed": 300, "total": 1300}
    assert earned(found, "decay") == {"spring": 356, "summer": 644, "unattributed": 300, "total": 1300}
    assert found.frame.filter(member="total")["conversions"].item() == 2, "one that two campaigns share is one"
    assert found.maturity == 1


def test_by_device_and_by_the_time_of_the_ad(asked: Any) -> None:
    assert earned(ask(asked, by="device"), "linear") == {"ios": 500, "web": 500, "unattributed": 300, "total": 1300}
    by_ad = compare(
        asked.clickhouse, AttributionQuery(START, NOON - timedelta(days=2), "ad"), NOON + timedelta(hours=1)
    )
    assert earned(by_ad, "linear") == {"spring": 500, "total": 500}
    assert by_ad.maturity is not None
    assert 0 < by_ad.maturity < 1
    only = ask(asked, members=["spring"])
    assert only.frame["member"].to_list() == ["spring", "unattributed", "total"]


def test_what_cannot_be_asked_is_named(platform: Any) -> None:
    for given, words in (
        ({"by": "colour"}, "unknown segment of ads 'colour'"),
        ({"basis": "click"}, "unknown basis of attribution 'click'"),
        ({"members": ["winter"]}, "unknown campaign in this range 'winter'"),
    ):
        with pytest.raises(UnknownNameError, match=words):
            ask(platform, **given)
    with pytest.raises(QueryError, match="is not before"):
        compare(platform.clickhouse, AttributionQuery(END, START), None)
    with pytest.raises(QueryError, match="quarters of an hour"):
        segments(platform.clickhouse, START, END + timedelta(minutes=1), "device")


def test_maturity_is_the_share_of_the_look_back_that_has_passed() -> None:
    week, day = timedelta(days=7), timedelta(days=1)
    assert maturity(NOON, NOON + day, NOON, week) == 0
    assert maturity(NOON, NOON + day, NOON + 8 * day, week) == pytest.approx(1)
    assert maturity(NOON, NOON + day, NOON + 20 * day, week) == pytest.approx(1)
    assert maturity(NOON, NOON + day, NOON + 4 * day, week) == pytest.approx(0.5)
    assert maturity(NOON, NOON + 7 * day, NOON + 7 * day, week) == pytest.approx(0.5)
    assert maturity(NOON, NOON + day, None, week) is None


def people(kind: str, count: int, first: int, **given: Any) -> list[dict[str, Any]]:
    return [ad_event(kind, NOON, f"u{first + number}", **given) for number in range(count)]


def test_segments_of_few_people_are_hidden_and_cannot_be_worked_out(platform: Any) -> None:
    events = [
        *people("impression", 20, 0, device="ios", amount_minor=100, **MONEY),
        *people("clicked", 5, 0, device="ios"),
        *people("impression", 6, 20, device="web"),
        *people("impression", 4, 30, device="tv"),
    ]
    events = [event | {"event_time": NOON + timedelta(seconds=number)} for number, event in enumerate(events)]
    platform.send(frame(events), at=NOON + timedelta(hours=1))
    refresh_live_ads(platform.clickhouse, datetime.now(UTC))
    found = segments(platform.clickhouse, START, END, "device")
    rows = {row["member"]: row for row in found.to_dicts()}
    assert {name for name, row in rows.items() if row["hidden"]} == {"tv", "web"}, "tv alone would be total - ios - web"
    assert rows["tv"]["ad_impressions"] is None
    assert (rows["ios"]["people"], rows["ios"]["ad_impressions"], rows["ios"]["ctr"]) == (20, 20, 0.25)
    assert rows["ios"]["cpm"] == 100_000
    assert (rows["total"]["people"], rows["total"]["ad_impressions"], rows["total"]["ad_clicks"]) == (30, 30, 5)
    assert rows["total"]["cpa"] is None, "nobody bought: no cost per conversion"


def test_the_commands_show_what_the_functions_say(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", asked.clickhouse_url)
    monkeypatch.setenv("TALLY_HOME", str(asked.home / "home"))
    period = ("--from", START.isoformat(), "--to", END.isoformat())
    shown = CliRunner().invoke(app, ["attribution", "--compare", *period])
    assert shown.exit_code == 0, shown.output
    assert "last non direct" in shown.stdout
    assert [line.split() for line in shown.stdout.splitlines() if "total" in line.split()][1] == [
        *("total", "2"), *["1,300"] * 6,
    ]  # fmt: skip
    as_json = CliRunner().invoke(app, ["attribution", *period, "--json"])
    assert '"rules_version":1' in as_json.stdout.replace(" ", "")
    listed = CliRunner().invoke(app, ["ads", "--by", "device", *period])
    assert listed.exit_code == 0, listed.output
    assert "too few people" in listed.stdout


def test_no_events_at_all(platform: Any) -> None:
    assert ask(platform).frame["conversions"].sum() == 0
    assert set(segments(platform.clickhouse, START, END, "age")["member"]) <= {"total"}
