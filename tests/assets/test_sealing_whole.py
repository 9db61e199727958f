"""From the event log to sealed days, on real engines, against a plain polars computation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from assets.families import families
from assets.sealing import Sealed


def by_plain_polars(events: pl.DataFrame, bucket: str) -> pl.DataFrame:
    """The rollup, written separately: explode dimensions, count rows, count distinct actors."""
    base = events.select(
        pl.col("event_time").dt.truncate(bucket).dt.epoch("s").cast(pl.UInt32).alias("at"),
        *("workspace", "network", "type", "object", "campaign", "topics", "actor"),
    )
    key = ["at", "workspace", "network", "type"]

    def of(dimension: str, frame: pl.DataFrame, member: pl.Expr) -> pl.DataFrame:
        return frame.select(*key, "actor", pl.lit(dimension).alias("dimension"), member.alias("member"))

    topics = base.explode("topics").drop_nulls("topics")
    rows = pl.concat(
        [
            of("all", base, pl.lit("")),
            of("object", base.filter(pl.col("object") != ""), pl.col("object")),
            of("campaign", base.filter(pl.col("campaign") != ""), pl.col("campaign")),
            of("topic", topics, pl.col("topics")),
        ]
    )
    counted = rows.group_by(*key, "dimension", "member").agg(
        pl.len().cast(pl.UInt64).alias("events"), pl.col("actor").n_unique().cast(pl.UInt64).alias("actors")
    )
    return counted.sort(pl.all())


def test_hours_and_days_equal_a_plain_computation(
    two_hours: pl.DataFrame, seal_all: Callable[..., Sealed], sealed_hours: Any
) -> None:
    sealed = seal_all()
    assert sealed.failed == {}
    columns = ["at", "workspace", "network", "type", "dimension", "member", "events", "actors"]
    assert sealed_hours().sort(pl.all()).select(columns).equals(by_plain_polars(two_hours, "1h").select(columns))
    assert (
        sealed_hours("engagement_daily")
        .sort(pl.all())
        .select(columns)
        .equals(by_plain_polars(two_hours, "1d").select(columns))
    )


def test_sealing_again_publishes_nothing(two_hours: pl.DataFrame, seal_all: Callable[..., Sealed]) -> None:
    seal_all()
    assert seal_all().reports == ()
    again = seal_all(rebuild=True)
    built = [report.build.dataset for report in again.reports]
    assert built[:3] == ["connector_slices", "engagement_hourly", "engagement_daily"]
    assert set(built[3:]) == {"sessions", *(family.dataset for family in families())}
    assert all(report.published.is_empty() and report.restatements == 0 for report in again.reports)


def test_a_late_event_restates_its_hour_and_day_and_as_of_still_answers(
    platform: Any, make_events: Any, two_hours: pl.DataFrame, seal_all: Callable[..., Sealed], sealed_hours: Any
) -> None:
    from resources.clickhouse import query_frame

    seal_all()
    before = sealed_hours()
    first = two_hours["event_time"].min()
    assert isinstance(first, datetime)
    late = make_events(
        99, 3, first, first + timedelta(minutes=1), networks=("app",), received_at=datetime.now(first.tzinfo)
    )
    sent = platform.send(late)
    sealed = seal_all(cause="late data")
    columns = ["at", "workspace", "network", "type", "dimension", "member", "events", "actors"]
    everything = pl.concat([two_hours, sent])
    assert sealed_hours().sort(pl.all()).select(columns).equals(by_plain_polars(everything, "1h").select(columns))

    changes = query_frame(
        platform.clickhouse,
        "SELECT toString(dataset) AS dataset, toString(metric) AS metric, toUnixTimestamp(bucket) AS at,"
        " toString(workspace) AS workspace, toString(network) AS network, toString(type) AS type,"
        " toString(dimension) AS dimension, member, old_value, new_value, toString(cause) AS cause"
        " FROM restatements FINAL",
    )
    assert set(changes["cause"]) == {"late data"}
    key = ["at", "workspace", "network", "type", "dimension", "member"]
    merged = before.join(sealed_hours(), on=key, how="full", suffix="_new", coalesce=True)
    for metric, column in (("events", "events"), ("active_actors", "actors")):
        expected = merged.filter(pl.col(column).ne_missing(pl.col(f"{column}_new"))).select(
            *key,
            pl.col(column).cast(pl.Float64).alias("old_value"),
            pl.col(f"{column}_new").cast(pl.Float64).alias("new_value"),
        )
        found = changes.filter((pl.col("dataset") == "engagement_hourly") & (pl.col("metric") == metric))
        assert found.select(expected.columns).sort(pl.all()).equals(expected.sort(pl.all()))
    assert sealed.reports[1].published.height == 1, "only the hour that changed is published"
    assert set(changes["dataset"]) == {"engagement_hourly", "engagement_daily", "sessions"}

    as_of = query_frame(
        platform.clickhouse,
        """
        SELECT sum(events) AS events FROM engagement_hourly_builds
        WHERE dimension = 'all' AND (bucket, network, build_id) IN
            (SELECT bucket, network, argMin(build_id, sealed_at) FROM seals
             WHERE dataset = 'engagement_hourly' GROUP BY bucket, network)
        """,
    )
    assert as_of["events"][0] == before.filter(pl.col("dimension") == "all")["events"].sum()
