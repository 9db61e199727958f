"""Attribution: what each touch of a path earns, in every model, to the last unit of money."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.attribution import CONVERSION_SCHEMA, MICRO, TOUCH_SCHEMA, UNATTRIBUTED, attribute
from contracts.ads import MODELS, AdRules, ad_rules

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)
KINDS = {"c": "click", "e": "engagement", "v": "view"}
UNITS = {"ms": 1, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PATHS = yaml.safe_load(Path(__file__).with_name("attribution_paths.yaml").read_text())


def identity(**given: str) -> dict[str, str]:
    return {"workspace": "acme", "network": "app", "actor": "ann", "advertiser": "shoes"} | given


def touch(name: str, at: datetime, kind: str = "click", *, direct: bool = False, **who: str) -> dict[str, Any]:
    return identity(**who) | {"touch_id": name, "touch_at": at, "kind": kind, "direct": direct}


def conversion(name: str, at: datetime, revenue: int = 0, **who: str) -> dict[str, Any]:
    return identity(**who) | {"conversion_id": name, "converted_at": at, "revenue_minor": revenue}


def credited(
    conversions: list[dict[str, Any]], touches: list[dict[str, Any]], rules: AdRules | None = None
) -> pl.DataFrame:
    given = pl.DataFrame(touches, schema=TOUCH_SCHEMA)
    return attribute(pl.DataFrame(conversions, schema=CONVERSION_SCHEMA), given, rules or ad_rules())


def path(touches: list[str]) -> list[dict[str, Any]]:
    made = []
    for name, text in zip("abcdefgh", touches, strict=False):
        kind, direct, age = re.fullmatch(r"([cev])(\*?) (.+)", text).groups()  # type: ignore[union-attr] # our own file
        parts = re.findall(r"(-?\d+)(ms|m|h|d)", age)
        before = timedelta(milliseconds=sum(int(number) * UNITS[unit] for number, unit in parts))
        made.append(touch(name, NOON - before, KINDS[kind], direct=bool(direct)))
    return made


def by_touch(rows: pl.DataFrame, column: str) -> dict[str, int]:
    named = rows.select(pl.col("touch_id").fill_null("u"), column)
    return {name: earned for name, earned in named.iter_rows() if earned}


def test_the_golden_table_is_large_enough() -> None:
    assert len(PATHS) >= 40


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case["name"])
def test_what_each_touch_of_a_path_earns(case: dict[str, Any]) -> None:
    rows = credited([conversion("x", NOON, 9_999)], path(case["touches"]))
    for model in MODELS:
        if expected := case.get(model, case.get("all")):
            assert by_touch(rows, f"credit_{model}") == expected, model
        assert rows[f"credit_{model}"].sum() == MICRO
        assert rows[f"revenue_{model}"].sum() == 9_999


def test_money_is_split_to_the_last_unit_and_the_earlier_touch_gets_the_odd_one() -> None:
    rows = credited([conversion("x", NOON, 1001)], path(["c 3h", "c 2h", "c 1h"]))
    assert by_touch(rows, "revenue_linear") == {"a": 334, "b": 334, "c": 333}
    assert by_touch(rows, "revenue_position") == {"a": 401, "b": 200, "c": 400}


def test_an_advertisers_own_look_back_counts_for_clicks_and_for_views() -> None:
    rules = ad_rules().model_copy(update={"advertisers": {"shoes": {"click": 1, "view": 48}}})
    touches = path(["v 48h", "c 61m", "v 1h"])
    assert by_touch(credited([conversion("x", NOON)], touches, rules), "credit_first") == {"a": MICRO}
    assert by_touch(credited([conversion("x", NOON)], touches, rules), "touchpoints") == {"a": 2, "c": 2}
    others = [each | {"advertiser": "hats"} for each in touches]
    rows = credited([conversion("x", NOON, advertiser="hats")], others, rules)
    assert by_touch(rows, "touchpoints") == {"b": 2, "c": 2}


@pytest.mark.parametrize("key", ["workspace", "network", "actor", "advertiser"])
def test_nobody_elses_touch_earns_anything(key: str) -> None:
    rows = credited([conversion("x", NOON)], [touch("a", NOON, **{key: "another"})])
    assert rows["kind"].to_list() == [UNATTRIBUTED]


def test_no_conversions_and_no_touches() -> None:
    assert credited([], [touch("a", NOON)]).is_empty()
    assert credited([conversion("x", NOON, 5)], [])["revenue_decay"].to_list() == [5]


# -- an oracle: one conversion at a time, fractions -------------------------------------------------------------------


def exact(weights: list[int], total: int) -> list[int]:
    whole = sum(weights)
    shares = [Fraction(weight, whole) * total for weight in weights]
    given = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda i: (given[i] - shares[i], i))
    for i in order[: total - sum(given)]:
        given[i] += 1
    return given


def oracle(one: dict[str, Any], touches: list[dict[str, Any]], rules: AdRules) -> dict[str, dict[str, int]]:
    """Credits by model and touch name ('u': unattributed), and revenue under `revenue_<model>`."""
    mine = []
    for each in touches:
        limit = rules.advertisers.get(each["advertiser"], {}).get(each["kind"], rules.look_back_hours[each["kind"]])
        age = one["converted_at"] - each["touch_at"]
        if all(each[key] == one[key] for key in identity()) and timedelta(0) <= age <= timedelta(hours=limit):
            mine.append(each)
    rank = {"click": 0, "engagement": 1, "view": 2}
    strongest = {t["touch_at"]: min(rank[o["kind"]] for o in mine if o["touch_at"] == t["touch_at"]) for t in mine}
    mine = [t for t in mine if rank[t["kind"]] == strongest[t["touch_at"]]]
    mine.sort(key=lambda t: (t["touch_at"], t["touch_id"]))
    n = len(mine)
    if not n:
        return {m: {"u": MICRO} for m in MODELS} | {f"revenue_{m}": {"u": one["revenue_minor"]} for m in MODELS}
    ends = [1] if n == 1 else [1, 1] if n == 2 else [2 * (n - 2), *([1] * (n - 2)), 2 * (n - 2)]
    indirect = [i for i in range(n) if not mine[i]["direct"]] or [n - 1]
    hours = [(one["converted_at"] - t["touch_at"]) / timedelta(hours=1) for t in mine]
    weights = {
        "first": [int(i == 0) for i in range(n)],
        "last": [int(i == n - 1) for i in range(n)],
        "last_non_direct": [int(i == indirect[-1]) for i in range(n)],
        "linear": [1] * n,
        "position": ends,
        "decay": [round(2 ** (-h / rules.half_life_hours) * 2**30) for h in hours],
    }
    names = [t["touch_id"] for t in mine]
    answer = {}
    for model in MODELS:
        credit = exact(weights[model], MICRO)
        answer[model] = dict(zip(names, credit, strict=True))
        answer[f"revenue_{model}"] = dict(zip(names, exact(credit, one["revenue_minor"]), strict=True))
    return answer


moments = st.integers(0, 9 * 24 * 4).map(lambda quarter: NOON - timedelta(minutes=15 * quarter))
people = st.sampled_from(["ann", "bob"])
advertisers = st.sampled_from(["shoes", "hats"])


@settings(max_examples=150, deadline=None)
@given(
    touches=st.lists(
        st.tuples(moments, st.sampled_from(["click", "engagement", "view"]), st.booleans(), people, advertisers),
        max_size=25,
    ),
    conversions=st.lists(st.tuples(moments, st.integers(0, 10**12), people, advertisers), max_size=6),
    seed=st.randoms(use_true_random=False),
)
def test_every_path_earns_what_the_oracle_says(touches: Any, conversions: Any, seed: Any) -> None:
    rules = ad_rules().model_copy(update={"advertisers": {"hats": {"click": 30, "view": 72}}})
    made = [
        touch(f"t{i:02}", at, kind, direct=direct, actor=actor, advertiser=advertiser)
        for i, (at, kind, direct, actor, advertiser) in enumerate(touches)
    ]
    asked = [
        conversion(f"x{i}", at, revenue, actor=actor, advertiser=advertiser)
        for i, (at, revenue, actor, advertiser) in enumerate(conversions)
    ]
    shuffled = seed.sample(made, len(made))  # the order of delivery does not matter
    rows = credited(asked, shuffled, rules)
    for one in asked:
        mine = rows.filter(pl.col("conversion_id") == one["conversion_id"])
        for model, expected in oracle(one, made, rules).items():
            column = model if model.startswith("revenue_") else f"credit_{model}"
            assert by_touch(mine, column) == {name: earned for name, earned in expected.items() if earned}, model
