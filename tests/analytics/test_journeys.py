"""Funnels equal an oracle that tries every choice of events."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.journeys import funnel

START = datetime(2026, 3, 4, tzinfo=UTC)
STEPS = ("look", "want", "buy")
SCHEMA = {
    **dict.fromkeys(("workspace", "network", "actor", "device_id"), pl.String()),
    "event_time": pl.Datetime("ms", "UTC"),
    "event_id": pl.String(),
    **dict.fromkeys(STEPS, pl.Boolean()),
}

_events = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.sets(st.sampled_from(STEPS), max_size=2)), max_size=14
)


def frame(events: list[tuple[str, int, set[str]]]) -> pl.DataFrame:
    rows = [
        ("w", "n", who, "", START + timedelta(minutes=at), f"{number:03d}", *(step in kinds for step in STEPS))
        for number, (who, at, kinds) in enumerate(events)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sample(fraction=1.0, shuffle=True, seed=1)


def attempts(rows: list[dict[str, Any]], within: timedelta) -> list[list[datetime]]:
    """Every way through the steps, extended one event at a time, whatever it skips."""
    ways = [[row] for row in rows if row[STEPS[0]]]
    for way in ways:
        if len(way) < len(STEPS):
            ways += [
                [*way, row]
                for row in rows
                if row[STEPS[len(way)]]
                and (row["event_time"], row["event_id"]) > (way[-1]["event_time"], way[-1]["event_id"])
                and row["event_time"] - way[0]["event_time"] <= within
            ]
    ways.sort(key=lambda way: (-len(way), [(row["event_time"], row["event_id"]) for row in way]))
    return [[row["event_time"] for row in way] for way in ways]


@settings(max_examples=300, deadline=None)
@given(events=_events, minutes=st.integers(0, 10))
def test_a_funnel_equals_trying_everything(events: list[tuple[str, int, set[str]]], minutes: int) -> None:
    within, given_frame = timedelta(minutes=minutes), frame(events)
    rows = sorted(given_frame.to_dicts(), key=lambda row: (row["actor"], row["event_time"], row["event_id"]))
    best = [
        found[0] for _, own in groupby(rows, key=lambda row: row["actor"]) if (found := attempts(list(own), within))
    ]
    people = [sum(len(way) > number for way in best) for number in range(len(STEPS))]
    took = [
        [(way[n] - way[n - 1]) / timedelta(milliseconds=1) for way in best if n and len(way) > n]
        for n in range(len(STEPS))
    ]
    found = funnel(given_frame, STEPS, within)
    assert found["people"].to_list() == people
    assert found["median_ms_from_previous"].to_list() == [statistics.median(each) if each else None for each in took]
    assert found["of_first"].to_list() == [n / people[0] if people[0] else None for n in people]


def test_the_same_event_is_no_two_steps_and_the_limit_is_inclusive() -> None:
    both = [("a", 0, {"look", "want"}), ("b", 0, {"look"}), ("b", 5, {"want"})]
    assert funnel(frame(both), ("look", "want"), timedelta(minutes=5))["people"].to_list() == [2, 1]
    assert funnel(frame(both), ("look", "want"), timedelta(minutes=4))["people"].to_list() == [2, 0]


@pytest.mark.parametrize("count", [0, 7])
def test_one_to_six_steps(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        funnel(frame([]), ["look"] * count, timedelta(minutes=1))
