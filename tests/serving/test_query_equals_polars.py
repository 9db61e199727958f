"""Every dimension, grain and zone: the answer equals a plain polars computation over the raw rows, live and sealed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from serving.query import GRAINS, MetricQuery, answer

# New York and Berlin change to summer time on the 10th and the 31st; St. John's has -03:30, later -02:30
START, END = datetime(2024, 3, 9, tzinfo=UTC), datetime(2024, 3, 12, tzinfo=UTC)
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "America/New_York", "Australia/Lord_Howe")
GROUPS: tuple[tuple[str, ...], ...] = (
    (), ("network",), ("type",), ("workspace",), ("object",), ("campaign",), ("topic",),
    ("topic", "type"), ("network", "campaign"), ("campaign", "object"), ("topic", "object", "workspace"),
)  # fmt: skip


def has_topic(name: str) -> pl.Expr:
    return pl.col("topics").list.contains(name)


METRICS = (
    "events", "posts", "comments", "shares", "reactions", "engagements", "clicks", "conversation_rate",
    "amplification_rate", "active_actors",
)  # fmt: skip

Values = dict[tuple[object, ...], object]
Check = Callable[..., None]


@pytest.fixture(scope="module")
def events(store: Client, reference: Any) -> pl.DataFrame:
    """Three days, of which `alpha` is sealed for 40 hours and its first day, and `beta` is live."""
    rows = reference.make_events(seed=7, count=2500, start=START, end=END)
    reference.insert_events(store, rows)
    reference.seal(store, [START + timedelta(hours=n) for n in range(40)], ["alpha"], END)
    reference.seal(store, [START], ["alpha"], END + timedelta(hours=1), daily=True)
    return rows


@pytest.fixture
def check(store: Client, events: pl.DataFrame, reference: Any) -> Check:
    """Ask, compute it again without SQL, and compare."""

    def meaningful(values: Values, metric: str) -> Values:
        """Leave out what one side need not list: empty groups of a count, groups without a denominator."""
        return {
            key: value for key, value in values.items() if value is not None and (metric in reference.ratios or value)
        }

    def run(metric: str, **question: Any) -> None:
        question = {"by": (), "start": START, "end": END, "tz": "UTC"} | question
        rows = question.pop("of", events)
        frame = answer(store, MetricQuery(metric, **question)).frame
        question.pop("filters", None)
        by = question["by"]
        found = frame.select(pl.col("bucket").dt.convert_time_zone("UTC"), *by, "value").iter_rows()
        right = meaningful(reference.expected(rows, metric, **question), metric)
        assert right
        assert meaningful({row[:-1]: row[-1] for row in found}, metric) == right

    return run


@pytest.mark.parametrize(("grain", "tz"), list(itertools.product(GRAINS, ZONES)))
def test_every_grain_in_every_zone(check: Check, grain: str, tz: str) -> None:
    check("active_actors", by=("network",), grain=grain, tz=tz)


@pytest.mark.parametrize("by", GROUPS, ids="+".join)
def test_every_dimension_and_their_crossings(check: Check, by: tuple[str, ...]) -> None:
    check("active_actors", by=by, grain="day")
    check("amplification_rate", by=by, grain="hour", tz="Asia/Kolkata")


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric(check: Check, metric: str) -> None:
    check(metric, by=("object",), grain="day")


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({"network": ["beta"]}, pl.col("network") == "beta"),
        ({"type": ["post.created", "share.created"]}, pl.col("type").is_in(["post.created", "share.created"])),
        ({"object": ["post-1", "post-2"]}, pl.col("object").is_in(["post-1", "post-2"])),
        ({"topic": ["it's"]}, has_topic("it's")),
        ({"topic": ["it's", "ask"]}, has_topic("it's") | has_topic("ask")),
        ({"topic": ["émoji"], "campaign": ["spring"]}, has_topic("émoji") & (pl.col("campaign") == "spring")),
        (
            {"workspace": ["acme"], "object": ["post-3"]},
            (pl.col("workspace") == "acme") & (pl.col("object") == "post-3"),
        ),
    ],
    ids=["network", "type", "object", "topic", "any-of-topics", "topic-and-campaign", "workspace-and-object"],
)
@pytest.mark.parametrize("tz", ["UTC", "Asia/Kolkata"])
def test_filters(check: Check, events: pl.DataFrame, filters: dict[str, list[str]], keep: pl.Expr, tz: str) -> None:
    check("active_actors" if tz == "UTC" else "events", of=events.filter(keep), grain="day", tz=tz, filters=filters)


@pytest.mark.parametrize("shift", [timedelta(minutes=17), timedelta(minutes=17, seconds=3, milliseconds=251)])
def test_edges_inside_an_hour_and_inside_a_minute_cut_exactly(check: Check, shift: timedelta) -> None:
    check("active_actors", by=("network",), grain="total", start=START + shift, end=END - shift)


def test_pooled_and_mean_of_ratios_are_both_given(store: Client, events: pl.DataFrame) -> None:
    given = answer(store, MetricQuery("conversation_rate", start=START, end=END, grain="total")).frame.row(
        0, named=True
    )

    def count(kind: str, networks: list[str]) -> int:
        return events.filter((pl.col("type") == kind) & pl.col("network").is_in(networks)).height

    both = ["alpha", "beta"]
    ratios = [count("comment.created", [network]) / count("post.created", [network]) for network in both]
    assert given["numerator"] == count("comment.created", both)
    assert given["denominator"] == count("post.created", both)
    assert given["value"] == given["numerator"] / given["denominator"]
    assert given["mean_of_networks"] == sum(ratios) / 2
    assert given["networks"] == 2
    assert given["mean_of_networks"] != given["value"]
