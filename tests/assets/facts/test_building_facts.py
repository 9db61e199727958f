"""Facts from published slices to answers: sealed by day, restated, known as of any instant, in every time zone.

The dataset made here counts events as if each were a session; how sessions are found has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.facts.build import FACT_SCHEMA, build_facts, write_facts
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.build import SOURCES_SCHEMA
from assets.publishing.seals import Build, bounds
from assets.publishing.sources import stale_days
from assets.publishing.staging import BuildReport
from assets.sealing import Sealed
from resources.clickhouse import Client, query_frame
from serving.query import MetricQuery, QueryError, answer

DAY = datetime(2026, 3, 4, tzinfo=UTC)

_EVENTS = """
SELECT event_time, toString(workspace) AS workspace, toString(network) AS network, toString(campaign) AS campaign
FROM connector_slices_builds
WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64} + 3600, 'UTC')
    AND (network, toStartOfHour(event_time), build_id) IN
        (SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String}))
"""


def count_events(clickhouse: Client, build: Build, _scope: pl.DataFrame, sources: pl.DataFrame) -> None:
    assert list(sources.columns) == list(SOURCES_SCHEMA)
    hours = bounds(sources.select(pl.col("source_bucket").alias("bucket")))
    events = query_frame(clickhouse, _EVENTS, {"build_id": build.id, **hours})
    shapes = [
        events.select("event_time", "workspace", "network", dimension=pl.lit(d), member=m)
        for d, m in (("all", pl.lit("")), ("campaign", pl.col("campaign").replace("", "unknown")))
    ]
    facts = (
        pl.concat(shapes)
        .with_columns(bucket=pl.col("event_time").dt.truncate("15m"), measure=pl.lit("sessions"))
        .group_by("bucket", "workspace", "network", "dimension", "member", "measure")
        .agg(value=pl.len().cast(pl.Int64))
    )
    write_facts(clickhouse, build, facts.select(list(FACT_SCHEMA)))


@pytest.fixture
def build_days(platform: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BuildReport]:
    """Build days by hand; the real sessions of these days stay unsealed."""
    monkeypatch.setattr("assets.sealing.follow", lambda *_args, **_options: iter(()))

    def run(networks: list[str], cause: str = "seal") -> BuildReport:
        scope = pl.DataFrame([(DAY, network) for network in networks], schema=SCOPE_SCHEMA, orient="row")
        return build_facts(
            platform.clickhouse, "sessions", scope,
            fill=count_events, method=["events", 1], counted="sessions", cause=cause, run_id="test-run",
        )  # fmt: skip

    return run


def sessions(platform: Any, **asked: Any) -> list[tuple[Any, ...]]:
    query = MetricQuery("sessions", start=DAY, end=DAY + timedelta(days=1), **asked)
    found = answer(platform.clickhouse, query).frame
    return found.filter(pl.col("value") != 0).select("bucket", *asked.get("by", ()), "value").rows()


def test_a_published_day_answers_by_hour_dimension_and_zone(
    platform: Any, two_hours: pl.DataFrame, seal_all: Callable[..., Sealed], build_days: Callable[..., BuildReport]
) -> None:
    seal_all()
    networks = two_hours["network"].unique().sort().to_list()

    report = build_days(networks)

    assert report.published.height == len(networks)
    assert report.events == two_hours.height
    by_hour = two_hours.group_by(pl.col("event_time").dt.truncate("1h").alias("at")).len().sort("at")
    assert [(at, value) for at, value in sessions(platform, grain="hour")] == by_hour.rows()
    by_campaign = (
        two_hours.group_by(pl.col("campaign").replace("", "unknown"), "network").len().sort("campaign", "network")
    )
    found = sessions(platform, grain="total", by=["campaign", "network"])
    assert sorted((campaign, network, value) for _, campaign, network, value in found) == by_campaign.rows()
    kolkata = two_hours["event_time"].dt.convert_time_zone("Asia/Kolkata").dt.truncate("1h")
    expected = sorted(kolkata.value_counts().rows())
    assert sessions(platform, grain="hour", tz="Asia/Kolkata") == expected


def test_building_again_publishes_nothing_and_a_late_event_restates(
    platform: Any,
    make_events: Any,
    two_hours: pl.DataFrame,
    seal_all: Callable[..., Sealed],
    build_days: Callable[..., BuildReport],
) -> None:
    seal_all()
    networks = two_hours["network"].unique().sort().to_list()
    days = pl.DataFrame([(DAY, network) for network in networks], schema=SCOPE_SCHEMA, orient="row")
    build_days(networks)
    assert build_days(networks).published.is_empty()
    assert stale_days(platform.clickhouse, "sessions", days, "connector_slices").is_empty()
    before = datetime.now(UTC)
    first = sessions(platform, grain="total")

    start = two_hours["event_time"].min()
    platform.send(make_events(77, 40, start, start + timedelta(minutes=30)), at=start + timedelta(hours=5))
    seal_all(cause="late data")
    late = stale_days(platform.clickhouse, "sessions", days, "connector_slices")
    report = build_days(late["network"].to_list(), cause="late data")

    assert sessions(platform, grain="total")[0][1] == first[0][1] + 40
    assert sessions(platform, grain="total", as_of=before) == first
    changes = query_frame(
        platform.clickhouse,
        "SELECT sum(new_value - ifNull(old_value, 0)) AS more, count() AS rows FROM restatements FINAL"
        " WHERE dataset = 'sessions' AND dimension = 'all' AND cause = 'late data'",
    )
    assert changes["more"].to_list() == [40]
    assert report.restatements > 0


def test_what_facts_do_not_keep_is_refused_by_name(platform: Any) -> None:
    for asked, words in (
        ({"grain": "minute"}, "grain"),
        ({"by": ["object"]}, "unknown dimension of sessions 'object'"),
        ({"start": DAY + timedelta(minutes=7)}, "00:07"),
    ):
        given = {"start": DAY, "end": DAY + timedelta(days=1), **asked}
        with pytest.raises(QueryError, match=words):
            answer(platform.clickhouse, MetricQuery("sessions", **given))
