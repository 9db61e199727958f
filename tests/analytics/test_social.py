"""Social metrics: every named variant by hand, nulls where nothing was measured, comparisons that refuse to guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from analytics.social import (
    POST_SCHEMA,
    RATES,
    campaign_against_usual,
    density,
    engagement_rates,
    mean_of_ratios,
    ranked_posts,
    rates,
)
from analytics.social_benchmark import OWN_ONLY, OwnOnlyError, compare_accounts

DAY = timedelta(days=1)
FIRST = datetime(2026, 5, 1, 9, tzinfo=UTC)
CASES = yaml.safe_load(Path(__file__).with_name("social_cases.yaml").read_text())


def posts(rows: list[dict[str, Any]]) -> pl.DataFrame:
    numbers = dict.fromkeys(("reactions", "comments", "shares", "clicks", "views", "reach", "impressions"), 0)
    base = {"network": "app", "account": "ann", "campaign": "", "posted_at": FIRST, "followers_then": 100,
            "followers_end": 100} | numbers  # fmt: skip
    made = [{**base, "post": f"p{number}", **row} for number, row in enumerate(rows)]
    return pl.DataFrame(made, schema=POST_SCHEMA)


def of_case(case: dict[str, Any]) -> pl.DataFrame:
    names = ("reactions", "comments", "shares", "followers_then", "clicks", "views", "reach", "impressions")
    days = case.get("days", [1] * len(case["posts"]))
    return posts(
        [
            {**dict(zip(names, row, strict=False)), "posted_at": FIRST + DAY * day,
             "followers_end": case.get("end", 1000)}
            for row, day in zip(case["posts"], days, strict=True)
        ]
    )  # fmt: skip


def test_the_golden_table_is_large_enough() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_the_metrics_say_of_these_posts(case: dict[str, Any]) -> None:
    given_posts = of_case(case)
    found = [
        rates(given_posts, "account"),
        engagement_rates(given_posts, "account", clicks=case.get("clicks", False)),
        density(given_posts, "account", 10 * DAY),
    ]
    if case["expect"] is None:
        assert all(frame.is_empty() for frame in found), "without posts there is no number, not 0"
        return
    told = {name: value for frame in found for name, value in frame.to_dicts()[0].items()}
    for name, expected in case["expect"].items():
        assert told[name] == (pytest.approx(expected) if expected is not None else None), name


def test_networks_are_given_pooled_and_as_the_mean_of_their_ratios() -> None:
    given_posts = posts([{"network": "a", "reactions": 10}, *[{"network": "b", "reactions": 1}] * 9])
    pooled = rates(given_posts.with_columns(all=pl.lit("all")), "all")
    assert pooled["applause_rate"].item() == pytest.approx(1.9)
    assert mean_of_ratios(given_posts)["applause_rate"] == pytest.approx(5.5)
    assert mean_of_ratios(given_posts.clear()) == dict.fromkeys(RATES)


def test_best_and_worst_posts_with_ties_by_time_then_id() -> None:
    given_posts = posts(
        [{"reactions": 5}, {"reactions": 9}, {"comments": 9, "posted_at": FIRST - DAY}, {}, {"shares": 5}]
    )
    assert ranked_posts(given_posts, 3)["post"].to_list() == ["p2", "p1", "p0"]
    assert ranked_posts(given_posts, 2, worst=True)["post"].to_list() == ["p3", "p0"]
    assert ranked_posts(given_posts, 1)["by_followers"].to_list() == [0.09]


def test_a_campaign_is_held_against_the_same_accounts_other_posts() -> None:
    given_posts = posts(
        [
            {"campaign": "spring", "reactions": 30},
            {"reactions": 10},
            {"reactions": 10, "shares": 1},
            {"account": "someone else", "reactions": 900},
        ]
    )
    campaign, usual = campaign_against_usual(given_posts, "spring").to_dicts()
    assert (campaign["applause_rate"], usual["applause_rate"]) == (30, 10)
    assert campaign["applause_rate_lift"] == pytest.approx(2)
    assert campaign["amplification_rate_lift"] == pytest.approx(-1)
    assert campaign["conversation_rate_lift"] is None, "no comments usually: nothing to be held against"
    missing, none = campaign_against_usual(given_posts, "winter").to_dicts()
    assert (missing["posts"], missing["applause_rate"], none["posts"]) == (0, None, 0)


FIVE = {"own": 8.0, "a": 10.0, "b": 4.0, "c": 2.0, "d": None}


def test_five_accounts_as_shares_of_the_best_and_of_the_average() -> None:
    values = pl.DataFrame({"account": list(FIVE), "applause_rate": list(FIVE.values())})
    found = compare_accounts(values, "applause_rate", {"own"})
    assert found["account"].to_list() == ["a", "own", "b", "c", "d"]
    assert found["share_of_max"].to_list() == [1, 0.8, 0.4, 0.2, None]
    assert found["share_of_average"].to_list() == pytest.approx([10 / 6, 8 / 6, 4 / 6, 2 / 6, None], nan_ok=True)
    assert found.filter("own")["account"].to_list() == ["own"]


def test_nobody_is_the_best_of_nothing() -> None:
    values = pl.DataFrame({"account": ["a", "b"], "applause_rate": [0.0, 0.0]})
    found = compare_accounts(values, "applause_rate", set())
    assert found["share_of_max"].to_list() == found["share_of_average"].to_list() == [None, None]


@pytest.mark.parametrize("metric", sorted(OWN_ONLY))
def test_what_only_the_owner_knows_is_refused_for_competitors(metric: str) -> None:
    values = pl.DataFrame({"account": ["own", "a", "b"], metric: [1.0, 2.0, 3.0]})
    with pytest.raises(OwnOnlyError, match=f"{metric} cannot be told of a, b: .* only"):
        compare_accounts(values, metric, {"own"})
    assert compare_accounts(values.head(1), metric, {"own"})["share_of_max"].to_list() == [1.0]


few = st.integers(0, 20)
known = st.one_of(st.none(), st.integers(0, 50))


def ratio(pairs: list[tuple[int, int]]) -> Fraction | None:
    """Sum over sum."""
    return Fraction(sum(top for top, _ in pairs), sum(bottom for _, bottom in pairs)) if pairs else None


def mean(values: list[Fraction]) -> Fraction | None:
    return sum(values, Fraction(0)) / len(values) if values else None


@given(st.lists(st.tuples(few, few, few, few, known, st.integers(0, 4), st.sampled_from("ab")), max_size=20))
def test_every_variant_equals_fractions_added_one_by_one(rows: Any) -> None:
    names = ("reactions", "comments", "shares", "views", "followers_then", "posted_at", "account")
    made = [dict(zip(names, row, strict=True)) for row in rows]
    found = engagement_rates(posts([row | {"posted_at": FIRST + DAY * row["posted_at"]} for row in made]), "account")
    for told in found.to_dicts():
        mine = [row for row in made if row["account"] == told["account"]]
        done = [(row["reactions"] + row["comments"] + row["shares"], row) for row in mine]
        rated = [(count, row["followers_then"], row["posted_at"]) for count, row in done if row["followers_then"]]
        days = {day: [(count, size) for count, size, at in rated if at == day] for _, _, day in rated}
        views = sum(row["views"] for row in mine)
        expected = {
            "by_followers_pooled": ratio([(count, size) for count, size, _ in rated]),
            "by_followers_mean_of_posts": mean([Fraction(count, size) for count, size, _ in rated]),
            "by_followers_mean_of_days": mean([each for pairs in days.values() if (each := ratio(pairs)) is not None]),
            "by_views": Fraction(sum(count for count, _ in done), views) if views else None,
        }
        for name, value in expected.items():
            assert told[name] == (None if value is None else pytest.approx(float(value))), name
