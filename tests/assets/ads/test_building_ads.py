"""Ad performance from events to answers: sealed by day, credits beside it, restated when a late click changes both."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.sealing import Sealed
from contracts.ads import MODELS, SEGMENTS
from contracts.envelope import EVENT_SCHEMA
from resources.clickhouse import query_frame
from serving.query import MetricQuery, answer

FIRST = datetime(2026, 3, 4, tzinfo=UTC)
DAYS = 10


def ad_event(kind: str, at: datetime, actor: str, name: str = "", **properties: Any) -> dict[str, Any]:
    campaign = properties.pop("campaign", "")
    return {
        "workspace": "acme",
        "event_id": name or str(uuid.uuid4()),
        "type": f"ad.{kind}",
        "network": "sim",
        "actor": actor,
        "object": properties.pop("ad", "ad1"),
        "campaign": campaign,
        "topics": [],
        "properties": json.dumps(properties),
        "occurred_at": at,
        "received_at": at,
        "event_time": at,
        "time_flag": "ok",
        "sdk": "test",
        "schema_version": 2,
        "receipt_id": "r",
        "raw": "{}",
    }


def frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(events, schema=EVENT_SCHEMA)


def random_ads(seed: int, count: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    kinds = ("impression", "impression", "viewed", "engaged", "clicked", "clicked", "converted")
    return [
        ad_event(
            chance.choice(kinds),
            FIRST + timedelta(milliseconds=chance.randrange(DAYS * 86_400_000 - 3_600_000)),
            f"u{chance.randrange(25)}",
            str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            campaign=chance.choice(("", "spring", "summer")),
            ad=chance.choice(("ad1", "ad2")),
            device=chance.choice(("ios", "web")),
            age=chance.choice((34, "18-24", None)),
            amount_minor=chance.choice((250, 999)),
            currency="USD",
        )
        for _ in range(count)
    ]


@pytest.fixture
def sealed_ads(platform: Any, seal_all: Callable[..., Sealed]) -> list[dict[str, Any]]:
    events = random_ads(1, 1500)
    platform.send(frame(events), at=FIRST + timedelta(days=DAYS, hours=1))
    assert not seal_all().failed
    return events


def ask(platform: Any, metric: str, **asked: Any) -> pl.DataFrame:
    question = MetricQuery(metric, start=FIRST, end=FIRST + timedelta(days=DAYS), **{"grain": "total", **asked})
    return answer(platform.clickhouse, question).frame


def facts(platform: Any, dataset: str) -> pl.DataFrame:
    return query_frame(
        platform.clickhouse,
        "SELECT toString(dimension) AS dimension, member, toString(measure) AS measure, sum(value) AS value FROM facts"
        " WHERE dataset = {dataset:String} GROUP BY ALL ORDER BY ALL",
        {"dataset": dataset},
    )


def test_credits_and_revenue_reconcile_in_every_model_and_segment(platform: Any, sealed_ads: Any) -> None:
    found = facts(platform, "ads")
    total = dict(found.filter(dimension="all").select("measure", "value").iter_rows())
    assert total["ad_revenue_minor"] > 0
    for model in MODELS:
        assert total[f"credit_{model}"] == total["ad_conversions_valid"] * 1_000_000
        assert total[f"revenue_{model}_minor"] == total["ad_revenue_minor"]
    for segment in SEGMENTS:
        summed = found.filter(dimension=segment).group_by("measure").agg(pl.col("value").sum())
        assert dict(summed.iter_rows()) == total, segment
    campaigns = set(found.filter(dimension="campaign", measure="credit_last")["member"])
    assert campaigns == {"spring", "summer", "unknown", "unattributed"}
    assert "34" in set(found.filter(dimension="age")["member"]), "a number is a segment too"
    credits = query_frame(platform.clickhouse, "SELECT sum(credit_last) AS c, sum(revenue_decay) AS r FROM ad_credits")
    assert credits.row(0) == (total["credit_last"], total["ad_revenue_minor"])


def test_both_bases_give_the_same_revenue_to_each_campaign(platform: Any, sealed_ads: Any) -> None:
    """All touches lie within the ten days, so dating by the ad moves revenue between days and loses none."""
    keys = ["dimension", "member", "measure"]
    by_conversion = facts(platform, "ads").filter(
        pl.col("measure").str.contains("^(credit|revenue)_") & (pl.col("member") != "unattributed"),
        dimension="campaign",
    )
    by_ad = facts(platform, "ad_returns").filter(pl.col("measure") != "spent_minor", dimension="campaign")
    assert by_ad.sort(keys).equals(by_conversion.filter(pl.col("value") != 0).sort(keys))


def test_a_late_click_takes_credit_in_a_day_after_it_and_says_so(
    platform: Any, seal_all: Callable[..., Sealed]
) -> None:
    bought = FIRST + timedelta(days=8, hours=12)
    early = [
        ad_event("clicked", bought - timedelta(hours=1), "ann", campaign="summer"),
        ad_event("converted", bought, "ann", amount_minor=1000, currency="USD"),
    ]
    ends = FIRST + timedelta(days=9, hours=1)
    platform.send(frame([*early, ad_event("impression", ends - timedelta(minutes=30), "bob")]), at=ends)
    assert not seal_all().failed
    assert ask(platform, "revenue_first", by=["campaign"]).select("campaign", "value").rows() == [("summer", 1000)]

    late = ad_event("clicked", bought - timedelta(days=7), "ann", campaign="spring", amount_minor=40, currency="USD")
    platform.send(frame([late]), at=ends + timedelta(minutes=5))
    assert not seal_all(cause="late data").failed
    for metric in ("revenue_first", "revenue_first_by_ad"):
        found = {row["campaign"]: row["value"] for row in ask(platform, metric, by=["campaign"]).to_dicts()}
        assert {name: value for name, value in found.items() if value} == {"spring": 1000}, metric
    changes = query_frame(
        platform.clickhouse,
        "SELECT dataset, bucket, member, old_value, new_value FROM restatements FINAL WHERE cause = 'late data'"
        " AND metric = 'revenue_first_minor' AND dimension = 'campaign' ORDER BY dataset, bucket, member",
    )
    told = {(d, m): (old, new) for d, _, m, old, new in changes.iter_rows()}
    assert told["ads", "spring"] == (None, 1000)
    assert told["ads", "summer"] == (1000, None)
    roas = ask(platform, "roas_first_by_ad", by=["campaign"])
    assert dict(roas.select("campaign", "value").iter_rows())["spring"] == 25.0


def test_sealing_again_publishes_nothing(platform: Any, sealed_ads: Any, seal_all: Callable[..., Sealed]) -> None:
    again = seal_all(rebuild=True)
    assert {r.build.dataset: r.published.height for r in again.reports if r.build.dataset.startswith("ad")} == {
        "ads": 0,
        "ad_returns": 0,
    }


def test_the_checks_pass_and_find_a_planted_wrong_number(platform: Any, sealed_ads: Any) -> None:
    from orchestration.checks.ads import impossible_rates, uneven_segments, unreconciled

    pairs = pl.DataFrame({"bucket": [FIRST, FIRST + timedelta(days=DAYS - 1)], "network": ["sim", "sim"]})
    assert unreconciled(platform.clickhouse, pairs).is_empty()
    assert uneven_segments(platform.clickhouse, pairs).is_empty()
    clicks = dict(impossible_rates(platform.clickhouse, pairs).select("campaign", "clicks").iter_rows())
    assert clicks.keys() <= {"spring", "summer", "unknown"}, "as many clicks as impressions are drawn"

    planted = "INSERT INTO facts_builds SELECT * REPLACE (value + 1 AS value) FROM facts WHERE {} LIMIT 1"
    platform.clickhouse.command(planted.format("dataset = 'ads' AND dimension = 'all' AND measure = 'credit_linear'"))
    found = unreconciled(platform.clickhouse, pairs)
    assert found["model"].to_list() == ["linear"]
    assert uneven_segments(platform.clickhouse, pairs)["measure"].to_list() == ["credit_linear"]
