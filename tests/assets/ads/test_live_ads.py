"""Live ads: what is asked before a day is sealed is what sealing finds, whatever arrives late or dies on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from assets.sealing import Sealed
from contracts.ads import ad_rules
from orchestration.checks.ads import live_differences
from orchestration.repair.ads import forget_live_ads
from resources.clickhouse import query_frame
from serving.query import MetricQuery, answer
from streaming.publisher.live_ads import hours_due, refresh_live_ads
from tests.assets.ads.test_building_ads import FIRST, ad_event, ask, frame, random_ads

FACTS = (
    "SELECT dataset, bucket, toString(workspace) AS workspace, network, dimension, member, measure, sum(value) AS value"
    " FROM {} WHERE startsWith(dataset, 'ad') GROUP BY ALL HAVING value != 0 ORDER BY ALL"
)
LIVE = (
    "(SELECT * FROM live_ad_facts WHERE (source_hour, generation) IN"
    " (SELECT source_hour, max(generation) FROM live_ad_hours GROUP BY source_hour))"
)


def refresh(platform: Any) -> None:
    runs = 0
    while refresh_live_ads(platform.clickhouse, datetime.now(UTC)):
        runs += 1
        assert runs < 5, "hours are made again and again"


def facts(platform: Any, table: str) -> pl.DataFrame:
    return query_frame(platform.clickhouse, FACTS.format(table))


def test_live_equals_sealed_in_every_row_with_late_and_reordered_events(
    platform: Any, seal_all: Callable[..., Sealed]
) -> None:
    events = random_ads(1, 400)
    random.Random(1).shuffle(events)
    for number, part in enumerate((events[:250], events[250:300], events[300:])):
        platform.send(frame(part), at=FIRST + timedelta(days=10, hours=1, minutes=number))
        refresh(platform)
    assert hours_due(platform.clickhouse, ad_rules()).is_empty()
    live = facts(platform, LIVE)

    assert not seal_all().failed

    assert_frame_equal(facts(platform, "facts"), live)
    assert facts(platform, "facts").height > 2000

    days = [FIRST + timedelta(days=number) for number in range(10)]
    pairs = pl.DataFrame({"bucket": days, "network": ["sim"] * len(days)})
    assert live_differences(platform.clickhouse, pairs).is_empty()
    planted = "INSERT INTO facts_builds SELECT * REPLACE (1 AS value) FROM facts WHERE {} LIMIT 1"
    platform.clickhouse.command(planted.format("dataset = 'ads' AND dimension = 'device' AND measure = 'ad_clicks'"))
    found = live_differences(platform.clickhouse, pairs)
    assert found.select("dimension", "measure", pl.col("sealed") - pl.col("live")).rows() == [
        ("device", "ad_clicks", 1)
    ]


def test_an_answer_before_sealing_is_the_answer_after_it(platform: Any, seal_all: Callable[..., Sealed]) -> None:
    platform.send(frame(random_ads(3, 300)), at=FIRST + timedelta(days=10, hours=1))
    metrics = ("ctr", "ctr_valid", "cpm", "cpa", "roas_linear", "roas_decay_by_ad", "valid_clicks", "revenue_position")
    assert ask(platform, "ctr")["numerator"].item() == 0
    refresh(platform)

    def told() -> list[pl.DataFrame]:
        return [ask(platform, metric, by=["campaign"]).drop("complete").sort("campaign") for metric in metrics]

    before = told()
    assert not seal_all().failed
    for live, sealed in zip(before, told(), strict=True):
        assert_frame_equal(live, sealed)


def test_only_hours_that_rest_on_what_arrived_are_made_again(platform: Any) -> None:
    bought = FIRST + timedelta(days=9)
    at = bought + timedelta(hours=1)
    click = ad_event("clicked", bought - timedelta(hours=30), "ann", campaign="summer")
    platform.send(frame([click, ad_event("converted", bought, "ann", amount_minor=700, currency="USD")]), at=at)
    refresh(platform)
    assert refresh_live_ads(platform.clickhouse, datetime.now(UTC)) == 0

    late = ad_event("clicked", bought - timedelta(hours=3), "ann", campaign="spring")
    platform.send(frame([late]), at=at + timedelta(minutes=1))
    due = hours_due(platform.clickhouse, ad_rules())["hour"].sort().to_list()
    assert due == [bought - timedelta(hours=3), bought]
    refresh(platform)
    found = ask(platform, "revenue_last", by=["campaign"])
    assert {r["campaign"]: r["value"] for r in found.to_dicts() if r["value"]} == {"spring": 700}


def test_hours_that_rest_on_an_event_that_was_put_right_are_made_again(platform: Any) -> None:
    at = FIRST + timedelta(days=1, minutes=5)
    events = [
        ad_event("clicked", at, "ann", amount_minor=40, currency="USD"),
        ad_event("converted", at + timedelta(hours=30), "ann", amount_minor=700, currency="USD"),
    ]
    platform.send(frame(events), at=FIRST + timedelta(days=3))
    refresh(platform)
    changed = "ALTER TABLE events UPDATE properties = replace(properties, ': 40', ': 90'), campaign = 'spring' WHERE 1"
    platform.clickhouse.command(f"{changed} AND type = 'ad.clicked' SETTINGS mutations_sync = 2")
    refresh(platform)
    assert ask(platform, "ad_cost")["value"].item() == 40, "as many events as before: nothing to notice"
    forget_live_ads(platform.clickhouse, [int(at.replace(minute=0).timestamp())])
    refresh(platform)
    assert ask(platform, "ad_cost")["value"].item() == 90
    found = ask(platform, "revenue_first", by=["campaign"])
    assert {r["campaign"]: r["value"] for r in found.to_dicts() if r["value"]} == {"spring": 700}


def test_a_generation_that_was_not_finished_is_seen_by_nobody(platform: Any) -> None:
    platform.send(frame(random_ads(4, 100)), at=FIRST + timedelta(days=10, hours=1))
    refresh(platform)
    before = facts(platform, LIVE)
    # What a kill between the rows and their publication leaves: more rows than the next attempt will have.
    platform.clickhouse.command(
        "INSERT INTO live_ad_facts SELECT * REPLACE (1 - side AS side, generation + 5 AS generation, 9 AS value)"
        " FROM live_ad_facts"
    )
    assert_frame_equal(facts(platform, LIVE), before)
    platform.clickhouse.command("OPTIMIZE TABLE live_ad_facts FINAL")
    assert_frame_equal(facts(platform, LIVE), before)
    platform.send(frame(random_ads(5, 50)), at=FIRST + timedelta(days=10, hours=2))
    refresh(platform)
    platform.clickhouse.command("OPTIMIZE TABLE live_ad_facts FINAL")
    impressions = MetricQuery("ad_impressions", start=FIRST, end=FIRST + timedelta(days=10), grain="total")
    sent = [*random_ads(4, 100), *random_ads(5, 50)]
    assert answer(platform.clickhouse, impressions).frame["value"].item() == sum(
        event["type"] == "ad.impression" for event in sent
    )
