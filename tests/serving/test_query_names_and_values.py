"""Unknown names say what is known; values from a caller are values, never SQL; what a plan costs is visible in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from serving.plan import check, make_plan
from serving.query import MetricQuery, QueryError, UnknownNameError, answer

START, END = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 3, tzinfo=UTC)
HOSTILE = (
    "x'); DROP TABLE events; --", "a\\'b", "tab\tnew\nline\r", "{topic:Array(String)}", "{{ 7 * 7 }}", "}{", "🙂", "%s",
    "--", "\\", "''", '"', "`", "/*", "a,b", "[']", "\x01", "NULL", "\u202e",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "kind", "valid"),
    [
        ({"metric": "reaction"}, "metric", "reactions"),
        ({"by": ("country",)}, "dimension of events", "network"),
        ({"filters": {"actor": ["a"]}}, "dimension of events", "workspace"),
        ({"grain": "year"}, "grain", "month"),
        ({"tz": "Europe/Berln"}, "time zone", "Europe/Berlin"),
        ({"tz": "UTC'; SELECT 1"}, "time zone", "UTC"),
        ({"order": "metric"}, "order", "-value"),
    ],
)
def test_an_unknown_name_is_named_with_the_valid_ones(changed: dict[str, Any], kind: str, valid: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        check(MetricQuery(**{"metric": "events", **changed}))
    assert error.value.name in str(error.value)
    assert error.value.kind == kind
    assert valid in error.value.valid
    assert valid in str(error.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"by": ("topic", "topic")}, "'topic' is given twice"),
        ({"by": "topic"}, "not the text 'topic'"),
        ({"filters": {"topic": []}}, "topic: give a list"),
        ({"filters": {"topic": "news"}}, "not 'news'"),
        ({"filters": {"workspace": ["a"]}, "workspace": "b"}, "contradicts workspace 'b'"),
        ({"limit": 0}, "at least 1, not 0"),
        ({"start": END, "end": START}, "must be before end"),
        ({"start": START, "end": START + timedelta(days=4000), "grain": "minute"}, "coarser grain"),
    ],
)
def test_a_question_without_an_answer_says_why(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        make_plan(check(MetricQuery(**{"metric": "events", **changed})), (START, END))


def test_hostile_values_are_only_values(store: Client, reference: Any) -> None:
    def named(number: int, value: str) -> pl.DataFrame:
        rows = reference.make_events(seed=number, count=6, start=START, end=START + timedelta(hours=1))
        texts = (pl.lit(value).alias(name) for name in ("workspace", "object"))
        return rows.with_columns(*texts, pl.lit([value]).alias("topics"))

    reference.insert_events(store, pl.concat(named(number, value) for number, value in enumerate(HOSTILE)))
    question: dict[str, Any] = {"metric": "events", "by": ("object",), "start": START, "end": END, "grain": "total"}
    for value in HOSTILE:
        for filters in ({"object": [value]}, {"topic": [value, "'"], "object": ["'", value]}):
            given = answer(store, MetricQuery(**question, workspace=value, filters=filters))
            assert given.frame.select("object", "value").rows() == [(value, 6)]
            plain = {name: [f"v{n}" for n, _ in enumerate(values)] for name, values in filters.items()}
            harmless = MetricQuery(**question, workspace="w", filters=plain)
            assert given.sql == make_plan(check(harmless), (START, END)).sql()


def test_order_and_limit(store: Client, reference: Any) -> None:
    rows = reference.make_events(seed=8, count=300, start=START, end=END)
    reference.insert_events(store, rows.with_columns(pl.lit("ordered").alias("workspace")))
    counts = (
        rows.filter(pl.col("object") != "").group_by("object").len().sort("len", "object", descending=[True, False])
    )
    query = MetricQuery(
        "events", by=("object",), start=START, end=END, grain="total", workspace="ordered", order="-value", limit=2
    )
    assert answer(store, query).frame.select("object", "value").rows() == counts.head(2).rows()
    hours = MetricQuery("events", start=START, end=END, grain="hour", workspace="ordered", order="-value", limit=3)
    busiest = rows.group_by(pl.col("event_time").dt.truncate("1h")).len()["len"].sort(descending=True).head(3).to_list()
    assert answer(store, hours).frame["value"].to_list() == busiest


@pytest.mark.parametrize(
    ("changed", "resolution", "daily"),
    [
        ({"grain": "day", "by": ("object",)}, "hour", True),
        ({"grain": "day"}, "hour", False),  # two days of a few rows
        ({"grain": "day", "metric": "active_actors"}, "hour", True),
        ({"grain": "day", "end": START + timedelta(days=61)}, "hour", False),
        ({"grain": "day", "end": START + timedelta(days=62)}, "hour", True),
        ({"grain": "day", "by": ("object",), "tz": "Europe/London"}, "hour", False),  # summer time
        ({"grain": "hour"}, "hour", False),
        ({"grain": "day", "tz": "America/New_York"}, "hour", False),
        ({"grain": "day", "tz": "Asia/Kolkata"}, "minute", False),
        ({"grain": "total", "by": ("object",), "tz": "Asia/Kolkata"}, "hour", True),
        ({"grain": "minute"}, "minute", False),
        ({"by": ("object", "topic")}, "row", False),
        ({"filters": {"topic": ["a", "b"]}}, "row", False),
        ({"filters": {"topic": ["a"]}}, "hour", False),
        ({"start": START + timedelta(seconds=1)}, "row", False),
    ],
)
def test_the_coarsest_rows_that_do_are_read(changed: dict[str, Any], resolution: str, daily: bool) -> None:
    plan = make_plan(check(MetricQuery(**{"metric": "events", "grain": "hour", **changed})), (START, END))
    assert (plan.resolution, plan.daily) == (resolution, daily)


def test_local_days_of_23_and_25_hours(store: Client, reference: Any) -> None:
    local: dict[str, Any] = {"grain": "day", "tz": "Europe/Berlin", "workspace": "dst"}
    for day, length in ((datetime(2024, 3, 31), 23), (datetime(2024, 10, 27), 25)):  # noqa: DTZ001 - local to the zone
        query = MetricQuery("events", start=day, end=day + timedelta(days=1), **local)
        utc = answer(store, query).start
        span = {"start": utc - timedelta(hours=3), "end": utc + timedelta(hours=30)}
        rows = reference.make_events(seed=length, count=1000, **span)
        reference.insert_events(store, rows.with_columns(pl.lit("dst").alias("workspace")))
        frame = answer(store, query).frame
        inside = (pl.col("event_time") >= utc) & (pl.col("event_time") < utc + timedelta(hours=length))
        assert frame.height == 1
        assert frame.select(pl.col("bucket_end") - pl.col("bucket")).item() == timedelta(hours=length)
        assert frame["value"].item() == rows.filter(inside).height
