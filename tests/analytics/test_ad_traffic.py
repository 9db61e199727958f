"""Invalid traffic: what is removed, for which one reason, and what of the money counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from analytics.ad_traffic import AD_EVENT_SCHEMA, judge
from analytics.ads import event_facts
from contracts.ads import SEGMENTS, ad_rules

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)


def event(name: str, kind: str, seconds: float = 0.0, **given: Any) -> dict[str, Any]:
    texts = {column: "" for column, dtype in AD_EVENT_SCHEMA.items() if dtype == pl.String()}
    return {
        **texts,
        "workspace": "acme",
        "network": "app",
        "event_id": name,
        "type": f"ad.{kind}",
        "actor": "ann",
        "ad": "ad1",
        "event_time": NOON + timedelta(seconds=seconds),
        "bot": False,
        "amount_minor": given.get("amount_minor"),
        "has_amount": "amount_minor" in given,
        "currency": "USD",
        **given,
    }


def judged(*events: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = judge(pl.DataFrame(list(events), schema=AD_EVENT_SCHEMA), ad_rules())
    return {row["event_id"]: row for row in rows.iter_rows(named=True)}


def reasons(*events: dict[str, Any]) -> dict[str, str]:
    return {name: row["reason"] for name, row in judged(*events).items()}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, ""),
        ({"user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"}, ""),
        ({"user_agent": "Mozilla/5.0 (compatible; GoogleBOT/2.1)"}, "bot"),
        ({"user_agent": "HeadlessChrome/120"}, "bot"),
        ({"bot": True}, "bot"),
        ({"ip": "192.0.2.0"}, "data_center"),
        ({"ip": "192.0.2.255"}, "data_center"),
        ({"ip": "192.0.3.0"}, ""),
        ({"ip": "192.0.1.255"}, ""),
        ({"ip": "2001:db8::1"}, "data_center"),
        ({"ip": "2001:db9::1"}, ""),
        ({"ip": "not an address"}, ""),
        ({"ip": "192.0.2.1", "bot": True}, "bot"),
    ],
)
def test_bots_and_data_centers(given: dict[str, Any], reason: str) -> None:
    for kind in ("impression", "clicked", "converted"):
        assert reasons(event("a", kind, **given)) == {"a": reason}


def test_a_second_click_on_the_same_ad_within_two_seconds_is_the_same_click() -> None:
    found = reasons(
        event("a", "clicked"),
        event("b", "clicked", 1.999),
        event("c", "clicked", 3.999),
        event("other ad", "clicked", 4.0, ad="ad2"),
        event("other person", "clicked", 4.0, actor="bob"),
    )
    assert {name for name, reason in found.items() if reason} == {"b"}
    assert found["b"] == "duplicate"


def test_a_click_id_counts_once_a_day_per_person() -> None:
    found = reasons(
        event("a", "clicked", click_id="k"),
        event("b", "clicked", 3600, click_id="k"),
        event("c", "clicked", 3600, click_id="k", actor="bob"),
        event("d", "clicked", 3600 + 86_400.001, click_id="k"),
    )
    assert found == {"a": "", "b": "duplicate", "c": "", "d": ""}


def test_a_conversion_counts_once_by_its_id_or_by_what_it_says() -> None:
    found = reasons(
        event("a", "converted", conversion_id="o-1", amount_minor=500),
        event("b", "converted", 60, conversion_id="o-1", amount_minor=500),
        event("c", "converted", 60, conversion_id="o-2", amount_minor=500),
        event("d", "converted", 90, amount_minor=500),
        event("e", "converted", 90, amount_minor=500),
        event("f", "converted", 90, amount_minor=501),
        event("g", "converted", 90.001, amount_minor=500),
    )
    assert found == {"a": "", "b": "duplicate", "c": "", "d": "", "e": "duplicate", "f": "", "g": ""}


@pytest.mark.parametrize(("seconds", "reason"), [(0, "too_fast"), (0.299, "too_fast"), (0.3, ""), (5, "")])
def test_a_click_so_soon_after_its_impression_was_made_by_no_hand(seconds: float, reason: str) -> None:
    assert reasons(event("a", "impression"), event("b", "clicked", seconds))["b"] == reason


def test_orphans_are_told_whatever_order_events_arrive_in() -> None:
    events = [
        event("shown", "impression"),
        event("click", "clicked", 10),
        event("bought", "converted", 60),
        event("click without impression", "clicked", 10, ad="ad2"),
        event("shown too late", "impression", 11, ad="ad2"),
        event("click on what was shown yesterday", "clicked", 86_400.001),
        event("bought before any click", "converted", 5),
        event("bought for another", "converted", 60, advertiser="hats"),
    ]
    orphans = {
        "click without impression",
        "click on what was shown yesterday",
        "bought before any click",
        "bought for another",
    }
    for seed in range(5):
        random.Random(seed).shuffle(events)
        assert {name for name, row in judged(*events).items() if row["orphan"]} == orphans


@pytest.mark.parametrize(
    ("amount", "currency", "reason", "money"),
    [
        (5, "USD", "", 5),
        (0, "USD", "", 0),
        (-5, "USD", "negative", 0),
        (5, "EUR", "other_currency", 0),
        (5, "", "other_currency", 0),
        (None, "USD", "not_an_amount", 0),
        (10**12, "USD", "", 10**12),
        (10**12 + 1, "USD", "too_large", 0),
    ],
)
def test_an_amount_that_cannot_be_added_is_counted_by_its_reason(
    amount: int | None, currency: str, reason: str, money: int
) -> None:
    row = judged(event("a", "impression", amount_minor=amount, currency=currency))["a"]
    assert (row["amount_reason"], row["money"]) == (reason, money)
    facts = event_facts(judge(pl.DataFrame([event("a", "impression", amount_minor=amount, currency=currency)],
                                        schema=AD_EVENT_SCHEMA), ad_rules()))  # fmt: skip
    told = dict(facts.filter(dimension="all").select("measure", "value").iter_rows())
    assert told.get("ad_cost_minor", 0) == money
    assert told.get(f"ad_amounts_{reason}", 0) == (1 if reason else 0)


def test_an_event_without_an_amount_has_none_refused() -> None:
    assert judged(event("a", "impression"))["a"]["amount_reason"] == ""


def many(seed: int, count: int = 2000) -> pl.DataFrame:
    chance = random.Random(seed)
    kinds = ("impression", "impression", "viewed", "engaged", "clicked", "clicked", "converted")
    rows = [
        event(
            f"e{i:05}",
            chance.choice(kinds),
            chance.randrange(3 * 86_400_000) / 1000,
            actor=f"u{chance.randrange(12)}",
            ad=f"ad{chance.randrange(3)}",
            campaign=chance.choice(("", "spring")),
            device=chance.choice(("", "ios", "web")),
            click_id=chance.choice(("", "", "k1", "k2")),
            user_agent=chance.choice(("", "curl/8")) if chance.random() < 0.1 else "",
            amount_minor=chance.choice((None, -1, 3, 50)),
            currency=chance.choice(("USD", "USD", "EUR")),
        )
        for i in range(count)
    ]
    return pl.DataFrame(rows, schema=AD_EVENT_SCHEMA)


def test_what_is_said_of_an_event_does_not_depend_on_how_much_history_is_at_hand() -> None:
    events = many(3)
    whole = judge(events, ad_rules())
    since = NOON + timedelta(days=2)
    short = judge(events.filter(pl.col("event_time") >= since - timedelta(hours=24)), ad_rules())
    clicks = (pl.col("event_time") >= since) & (pl.col("type") != "ad.converted")
    assert short.filter(clicks).equals(whole.filter(clicks))
    columns = ["event_id", "reason", "money"]
    late = pl.col("event_time") >= since
    assert short.filter(late).select(columns).equals(whole.filter(late).select(columns))


def test_every_segment_sums_to_the_total_with_unknown() -> None:
    facts = event_facts(judge(many(5), ad_rules()))
    keys = ["bucket", "workspace", "network", "measure"]
    total = facts.filter(dimension="all").select(*keys, "value").sort(keys)
    assert total.height > 500
    for segment in SEGMENTS:
        summed = facts.filter(dimension=segment).group_by(keys).agg(pl.col("value").sum()).sort(keys)
        assert summed.equals(total), segment
    assert "unknown" in set(facts.filter(dimension="device")["member"])


def test_removed_and_valid_sum_to_all() -> None:
    facts = (
        event_facts(judge(many(7), ad_rules())).filter(dimension="all").group_by("measure").agg(pl.col("value").sum())
    )
    told = dict(facts.iter_rows())
    removed = sum(told.get(f"ad_clicks_{reason}", 0) for reason in ("bot", "data_center", "duplicate", "too_fast"))
    assert told["ad_clicks"] == told["ad_clicks_valid"] + removed
    removed = sum(told.get(f"ad_events_{reason}", 0) for reason in ("bot", "data_center", "duplicate", "too_fast"))
    valid = sum(told[f"ad_{kind}_valid"] for kind in ("impressions", "views", "engagements", "clicks", "conversions"))
    assert removed + valid == many(7).height
