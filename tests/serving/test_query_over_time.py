"""Completeness, `as_of`, restatements and seals: what an answer says about itself as data arrives."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from serving.query import MetricQuery, QueryError, answer

START = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def events(clickhouse: Client, reference: Any) -> pl.DataFrame:
    """Four hours of two networks."""
    rows = reference.make_events(seed=3, count=600, start=START, end=START + 4 * HOUR)
    reference.insert_events(clickhouse, rows)
    return rows


def late(reference: Any, seed: int, at: datetime, received: datetime) -> pl.DataFrame:
    """Events of one hour that arrive much later."""
    rows = reference.make_events(seed=seed, count=40, start=at, end=at + HOUR)
    return rows.with_columns(
        pl.lit(received).cast(pl.Datetime("ms", "UTC")).alias("received_at"), pl.col("log_offset") + 10_000 * seed
    )


def values(client: Client, as_of: datetime | None = None, **question: Any) -> pl.DataFrame:
    asked = {"metric": "active_actors", "by": ("network", "type"), "grain": "hour"} | question
    query = MetricQuery(**asked, start=START, end=START + 4 * HOUR, as_of=as_of)
    return answer(client, query).frame.drop("complete")


def test_as_of_gives_every_earlier_answer_again(clickhouse: Client, reference: Any, events: pl.DataFrame) -> None:
    moments, told = [], []

    def ask(at: datetime) -> None:
        moments.append(at)
        told.append([values(clickhouse), values(clickhouse, grain="total", metric="conversation_rate", by=())])

    at = START + 5 * HOUR
    ask(at)  # nothing sealed
    reference.seal(clickhouse, [START, START + HOUR], ["alpha"], at + HOUR)
    ask(at + 2 * HOUR)  # partly sealed
    reference.insert_events(clickhouse, late(reference, 4, START, at + 3 * HOUR))
    reference.insert_events(clickhouse, late(reference, 5, START + 3 * HOUR, at + 3 * HOUR))
    ask(at + 4 * HOUR)  # a late event: not in the sealed hour, at once in the live one
    reference.seal(clickhouse, [START, START + 2 * HOUR], ["alpha", "beta"], at + 5 * HOUR)
    ask(at + 6 * HOUR)  # sealed again: the late events are in
    assert not told[2][0].equals(told[3][0])
    for moment, (series, rate) in zip(moments, told, strict=True):
        assert values(clickhouse, as_of=moment).equals(series)
        assert values(clickhouse, as_of=moment, grain="total", metric="conversation_rate", by=()).equals(rate)


def test_the_as_of_of_an_answer_gives_that_answer_byte_for_byte(
    clickhouse: Client, reference: Any, events: pl.DataFrame
) -> None:
    question: dict[str, Any] = {
        "metric": "events",
        "by": ("topic",),
        "grain": "hour",
        "start": START,
        "end": START + 4 * HOUR,
    }
    now = START + 4 * HOUR
    first = answer(clickhouse, MetricQuery(**question), now=now)
    again = answer(clickhouse, MetricQuery(**question), now=now)
    assert first.body() == again.body()
    assert first.etag() == again.etag()
    reference.insert_events(clickhouse, late(reference, 9, START, now + HOUR))
    changed = answer(clickhouse, MetricQuery(**question), now=now)
    assert changed.etag() != first.etag()
    assert changed.data_version != first.data_version
    then = json.loads(answer(clickhouse, MetricQuery(**question, as_of=first.as_of)).body())
    assert then == json.loads(first.body())


def test_a_resealed_hour_makes_an_older_day_step_aside(
    clickhouse: Client, reference: Any, events: pl.DataFrame
) -> None:
    at = START + 30 * HOUR
    reference.seal(clickhouse, [START + n * HOUR for n in range(4)], ["alpha", "beta"], at)
    reference.seal(clickhouse, [START], ["alpha", "beta"], at + HOUR, daily=True)
    more = late(reference, 6, START, at + 2 * HOUR)
    reference.insert_events(clickhouse, more)

    def of_day() -> int:
        query = MetricQuery("events", grain="day", start=START - 61 * 24 * HOUR, end=START + 24 * HOUR)
        return int(answer(clickhouse, query).frame["value"].sum())

    assert of_day() == events.height
    reference.seal(clickhouse, [START], ["alpha", "beta"], at + 3 * HOUR)
    assert of_day() == events.height + more.height
    reference.seal(clickhouse, [START], ["alpha", "beta"], at + 4 * HOUR, daily=True)
    assert of_day() == events.height + more.height


@pytest.mark.parametrize("hole", [0, 1, 3])
def test_members_are_counted_whatever_is_sealed_sealed_again_or_not_sealed(
    clickhouse: Client, reference: Any, events: pl.DataFrame, hole: int
) -> None:
    """One build of three hours and two networks, one of its hours built again, another hour only live."""
    hours = [START + n * HOUR for n in range(4) if n != hole]
    reference.seal(clickhouse, hours, ["alpha", "beta"], START + 30 * HOUR)
    more = late(reference, 9, hours[1], START + 31 * HOUR)
    reference.insert_events(clickhouse, more)
    everything = pl.concat([events, more])

    def top() -> list[tuple[str, int]]:
        query = MetricQuery("events", by=("object",), grain="total", start=START, end=START + 4 * HOUR)
        return answer(clickhouse, query).frame.select("object", "value").sort("object").rows()

    def expected(rows: pl.DataFrame) -> list[tuple[str, int]]:
        return rows.filter(pl.col("object") != "").group_by("object").len().sort("object").rows()

    assert top() == expected(events)
    reference.seal(clickhouse, [hours[1]], ["alpha"], START + 32 * HOUR)
    assert top() == expected(
        everything.filter((pl.col("network") == "alpha") | (~pl.col("event_id").is_in(more["event_id"].implode())))
    )
    reference.seal(clickhouse, [hours[1]], ["beta"], START + 33 * HOUR)
    assert top() == expected(everything)


def test_complete_through_follows_the_slowest_partition_that_is_not_idle(clickhouse: Client, reference: Any) -> None:
    rows = reference.make_events(seed=1, count=400, start=START, end=START + 4 * HOUR)
    one = (pl.col("log_topic") == "content-events") & (pl.col("log_partition") == 0)
    early = pl.col("event_time") < START + 2 * HOUR + timedelta(minutes=10)
    reference.insert_events(clickhouse, rows.filter(~one | early))
    query = MetricQuery("events", grain="hour", start=START, end=START + 5 * HOUR)
    slow = rows.filter(one & early)["received_at"].max()

    waiting = answer(clickhouse, query, now=slow + timedelta(minutes=4))
    assert waiting.complete_through == START + 2 * HOUR
    assert waiting.frame["complete"].to_list() == [True, True, False, False, False]
    idle = answer(clickhouse, query, now=START + 4 * HOUR + timedelta(minutes=1))
    assert idle.complete_through == START + 3 * HOUR
    assert idle.frame["complete"].to_list() == [True, True, True, False, False]


def test_a_bucket_completes_two_minutes_after_its_end(clickhouse: Client, reference: Any) -> None:
    rows = reference.make_events(seed=1, count=1, start=START, end=START + timedelta(seconds=1))
    query = MetricQuery("events", grain="hour", start=START, end=START + 2 * HOUR)
    for number, (at, through) in enumerate([(119, None), (120, START + HOUR)]):
        moment = START + HOUR + timedelta(seconds=at)
        stamped = rows.with_columns(
            *(pl.lit(moment).cast(pl.Datetime("ms", "UTC")).alias(name) for name in ("event_time", "received_at")),
            pl.lit(number).cast(pl.Int64).alias("log_offset"),
        )
        reference.insert_events(clickhouse, stamped)
        assert answer(clickhouse, query, now=moment).complete_through == through


def test_a_bucket_that_the_range_cuts_is_marked(clickhouse: Client, events: pl.DataFrame) -> None:
    start, end = START + timedelta(minutes=30), START + timedelta(hours=2, minutes=30)
    given = answer(clickhouse, MetricQuery("events", grain="hour", start=start, end=end))
    assert given.frame["complete"].to_list() == [False, True, False]
    inside = events.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
    assert given.frame["value"].sum() == inside.height


def test_empty_buckets_are_zero_for_counts_and_null_for_ratios(clickhouse: Client, events: pl.DataFrame) -> None:
    span = {"start": START + 3 * HOUR, "end": START + 6 * HOUR, "grain": "hour"}
    assert answer(clickhouse, MetricQuery("events", **span)).frame["value"].to_list()[1:] == [0, 0]
    rates = answer(clickhouse, MetricQuery("conversation_rate", **span)).frame
    assert rates["value"].to_list()[1:] == [None, None]
    assert rates["denominator"].to_list()[1:] == [0, 0]
    assert rates["mean_of_networks"].to_list()[1:] == [None, None]


def test_without_a_range_all_events_are_answered_and_an_empty_store_answers_nothing(
    clickhouse: Client, reference: Any
) -> None:
    empty = answer(clickhouse, MetricQuery("events", grain="hour"))
    assert empty.frame.is_empty()
    assert empty.complete_through is None
    rows = reference.make_events(seed=2, count=50, start=START, end=START + 3 * HOUR)
    reference.insert_events(clickhouse, rows)
    full = answer(clickhouse, MetricQuery("events", grain="hour"))
    assert (full.start, full.end, full.frame["value"].sum()) == (START, START + 3 * HOUR, 50)


def test_as_of_must_be_a_known_instant(clickhouse: Client) -> None:
    for as_of, words in ((datetime(2024, 1, 1), "no time zone"), (datetime(2124, 1, 1, tzinfo=UTC), "future")):  # noqa: DTZ001 - that is the case
        with pytest.raises(QueryError, match=words):
            answer(clickhouse, MetricQuery("events", as_of=as_of))


def test_an_hour_sealed_after_its_time_is_complete_even_if_nothing_came_later(
    clickhouse: Client, reference: Any, events: pl.DataFrame
) -> None:
    query, now = MetricQuery("events", grain="hour", start=START, end=START + 4 * HOUR), START + 5 * HOUR
    reference.seal(clickhouse, [START + 3 * HOUR], ["alpha"], START + 3 * HOUR + timedelta(minutes=59))
    assert answer(clickhouse, query, now=now).complete_through == START + 3 * HOUR
    reference.seal(clickhouse, [START + 3 * HOUR], ["alpha"], START + 4 * HOUR + timedelta(minutes=2))
    assert answer(clickhouse, query, now=now).complete_through == START + 4 * HOUR


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("grain", ["minute", "hour", "day", "week", "month", "total"])
def test_an_open_range_cuts_no_bucket(clickhouse: Client, events: pl.DataFrame, grain: Any, zone: str) -> None:
    given = answer(clickhouse, MetricQuery("events", grain=grain, tz=zone))
    through = given.complete_through or START
    assert given.frame["complete"].to_list() == [end <= through for end in given.frame["bucket_end"]]
    assert given.frame["value"].sum() == events.height
    assert (given.frame["bucket"][0], given.frame["bucket_end"][-1]) == (given.start, given.end)


def test_a_total_says_how_far_it_is_complete(clickhouse: Client, events: pl.DataFrame) -> None:
    edges = START + timedelta(seconds=0.5), START + timedelta(hours=3, seconds=0.25)
    past = answer(clickhouse, MetricQuery("events", (), *edges, "total"))
    assert (past.frame["complete"].to_list(), past.complete_through) == ([True], edges[1])
    running = answer(clickhouse, MetricQuery("events", grain="total"))
    assert running.frame["complete"].to_list() == [False]
    assert running.complete_through is not None
    assert START < running.complete_through < running.end
