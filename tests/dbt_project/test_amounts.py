"""What counts as an amount of money: one answer for ads and for sessions, whatever JSON the sender wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from analytics.ad_traffic import ad_events_of, judge
from contracts.ads import MOST_MINOR, ad_rules
from contracts.envelope import EVENT_SCHEMA
from resources.clickhouse import insert_frame, query_frame
from resources.clickhouse.sql import render

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
OTHER = "other_currency"
CASES: list[tuple[str, int, str]] = [
    ('"amount_minor": 250, "currency": "USD"', 250, ""),
    ('"amount_minor": 250.0, "currency": "USD"', 250, ""),
    ('"amount_minor": "250", "currency": "usd"', 250, ""),
    ('"amount_minor": 0, "currency": "USD"', 0, ""),
    (f'"amount_minor": {MOST_MINOR}, "currency": "USD"', MOST_MINOR, ""),
    (f'"amount_minor": {MOST_MINOR + 1}, "currency": "USD"', 0, "too_large"),
    ('"amount_minor": 9000000000000000000, "currency": "USD"', 0, "too_large"),
    ('"amount_minor": 10000000000000000000, "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": -1, "currency": "USD"', 0, "negative"),
    ('"amount_minor": "-1", "currency": "USD"', 0, "negative"),
    ('"amount_minor": 2.5, "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": "12.5", "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": "1e3", "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": true, "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": [250], "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": "", "currency": "USD"', 0, "not_an_amount"),
    ('"amount_minor": null, "currency": "USD"', 0, ""),
    ('"currency": "USD"', 0, ""),
    ('"amount_minor": 250, "currency": "EUR"', 0, OTHER),
    ('"amount_minor": 250', 0, OTHER),
]


@pytest.fixture
def told(clickhouse: Client, make_events: Any) -> pl.DataFrame:
    """An `ad.converted` per case, its actor the case's number, in the table of live events."""
    rows: pl.DataFrame = make_events(1, len(CASES), AT, AT.replace(hour=13))
    rows = rows.with_columns(
        type=pl.lit("ad.converted"),
        workspace=pl.lit("acme"),
        network=pl.lit("sim"),
        actor=pl.Series([f"{number:02}" for number in range(len(CASES))]),
        properties=pl.Series(["{" + text + "}" for text, _, _ in CASES]),
        log_topic=pl.lit("ad-events"),
        log_partition=pl.lit(0, pl.Int32),
        log_offset=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    assert set(EVENT_SCHEMA) < set(rows.columns)
    insert_frame(clickhouse, "events", rows.drop("raw"))
    return rows


def test_each_case_is_counted_or_refused_with_its_reason(clickhouse: Client, told: pl.DataFrame) -> None:
    rows = query_frame(clickhouse, render("ad_events", source="events"))
    judged = judge(ad_events_of(rows, ad_rules()), ad_rules()).sort("actor")
    found = judged.select("money", "amount_reason").rows()
    assert [(text, *each) for (text, _, _), each in zip(CASES, found, strict=True)] == CASES


def test_a_goal_is_worth_what_ads_count_in_its_own_currency(clickhouse: Client, told: pl.DataFrame) -> None:
    goals = query_frame(
        clickhouse, "SELECT toInt32(actor) AS n, goal_minor, goal_currency FROM session_events ORDER BY actor"
    )
    for number, goal, currency in goals.iter_rows():
        text, money, reason = CASES[number]
        if reason == OTHER:  # of another currency: worth as much, in that one
            expected: tuple[int | None, str] = (250, "EUR" if "EUR" in text else "")
        elif reason or '"amount_minor"' not in text or "null" in text:
            expected = (None, "")
        else:
            expected = (money, "USD")
        assert (goal, currency) == expected, text
