"""Sessions equal a plain loop, whatever the order in which events come, and at every edge of the rule."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_oracle import sessions_of

from analytics.sessions import IDENTITY, SESSION_EVENT_SCHEMA, SESSION_SCHEMA, not_in, sessionise, still_open

START = datetime(2026, 3, 4, 23, tzinfo=UTC)
MS = timedelta(milliseconds=1)
HALF_HOUR = timedelta(minutes=30)

_pauses = st.one_of(
    st.sampled_from([0, 1, 9_999, 10_000, 10_001, 1_799_999, 1_800_000, 1_800_001, 86_400_000]),
    st.integers(0, 1_799_999),
    st.integers(1_500_000, 1_799_999),
)


@st.composite
def _streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of a few people with pauses at and around the limits, long runs without any pause, in any order."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    events = []
    for who in draw(st.lists(st.sampled_from(["", "ann", "bob", "cyd"]), min_size=1, max_size=4)):
        at = START + timedelta(minutes=chance.randrange(90))
        run = draw(st.lists(_pauses, min_size=1, max_size=30)) * chance.choice((1, 1, 1, 9))
        for pause in run:
            at += pause * MS
            events.append(event(who, at, chance))
    chance.shuffle(events)
    return events


def event(who: str, at: datetime, chance: random.Random, **given_values: Any) -> dict[str, Any]:
    key = chance.random() < 0.1
    return {
        "workspace": chance.choice(("acme", "globex")),
        "network": "app",
        "actor": who,
        "device_id": chance.choice(("", "d1")) if who == "" else "",
        "event_time": at,
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "view": chance.random() < 0.4,
        "key_event": key,
        "item": chance.choice(("", "/", "/a", "/b")),
        "campaign": chance.choice(("", "", "spring", "fall")),
        "device": chance.choice(("", "ios", "web")),
        "goal_minor": chance.randrange(1000) if key and chance.random() < 0.8 else None,
        "goal_currency": chance.choice(("EUR", "USD")) if key else "",
        **given_values,
    }


def frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(events, schema=SESSION_EVENT_SCHEMA)


@settings(max_examples=300, deadline=None)
@given(stream=_streams())
def test_sessions_equal_a_loop_in_any_order(stream: list[dict[str, Any]]) -> None:
    found = sessionise(frame(stream)).sort(*IDENTITY, "started_at")
    assert found.to_dicts() == sessions_of(stream)


@settings(max_examples=150, deadline=None)
@given(stream=_streams())
def test_day_after_day_gives_the_same_sessions(stream: list[dict[str, Any]]) -> None:
    """Each day is cut from its own events and the next day's, after those that the day before has taken."""
    events = frame(stream)
    days = sorted({at.replace(hour=0, minute=0, second=0, microsecond=0) for at in events["event_time"]})
    carried, found = pl.DataFrame(schema=SESSION_SCHEMA), []
    for number in range((days[-1] - days[0]).days + 1):
        day = days[0] + timedelta(days=number)
        near = events.filter(pl.col("event_time").is_between(day, day + timedelta(days=2), closed="left"))
        cut = sessionise(not_in(near, carried)).filter(pl.col("started_at") < day + timedelta(days=1))
        carried = cut.unique(IDENTITY, keep="last", maintain_order=True)
        found.append(cut)
    assert pl.concat(found).sort("workspace", "network", "actor", "device_id", "started_at").to_dicts() == sessions_of(
        stream
    )


@pytest.mark.parametrize(("pause", "sessions"), [(1_799_999, 1), (1_800_000, 2)])
def test_thirty_minutes_to_the_millisecond_split(pause: int, sessions: int) -> None:
    chance = random.Random(1)
    given_events = [event("ann", at, chance, workspace="acme") for at in (START, START + pause * MS)]
    assert sessionise(frame(given_events)).height == sessions


def test_a_late_event_merges_two_sessions_and_the_later_id_disappears() -> None:
    chance = random.Random(2)
    ends = [event("ann", START + timedelta(minutes=m), chance, workspace="acme") for m in (0, 40)]
    before = sessionise(frame(ends))
    after = sessionise(frame([*ends, event("ann", START + timedelta(minutes=20), chance, workspace="acme")]))
    assert before.height == 2
    assert after["session_id"].to_list() == before["session_id"].to_list()[:1]


def test_an_actor_active_for_thirty_hours_has_two_sessions() -> None:
    chance = random.Random(3)
    run = [event("bot", START + timedelta(minutes=10 * n), chance, workspace="acme") for n in range(181)]
    found = sessionise(frame(run))
    assert found["events"].to_list() == [145, 36]  # 24:00:00.000 after the start is still within the first
    assert found["started_at"].to_list() == [START, START + timedelta(hours=24, minutes=10)]


def test_who_has_neither_actor_nor_device_is_in_no_session() -> None:
    chance = random.Random(4)
    assert sessionise(frame([event("", START, chance, device_id="")])).is_empty()
    assert sessionise(frame([event("", START, chance, device_id="d1")])).height == 1


def test_at_identical_times_the_id_decides_the_order() -> None:
    chance = random.Random(5)
    ids = [str(uuid.UUID(int=number)) for number in (3, 1, 2)]
    same = [
        event("ann", START, chance, workspace="acme", event_id=each, view=True, item=f"/{each[-1]}") for each in ids
    ]
    found = sessionise(frame(same)).row(0, named=True)
    assert (found["first_event_id"], found["path"], found["ended_at"]) == (ids[1], ["/1", "/2", "/3"], START)


def test_sessions_never_cross_actors() -> None:
    chance = random.Random(6)
    both = [event(who, START + n * MS, chance, workspace="acme") for n, who in enumerate(("ann", "bob", "ann", "bob"))]
    assert sessionise(frame(both)).sort("actor").select("actor", "events").rows() == [("ann", 2), ("bob", 2)]


def test_a_session_is_open_until_nothing_can_join_it() -> None:
    chance = random.Random(7)
    found = sessionise(frame([event("ann", START, chance)]))
    assert found.filter(still_open(START + HALF_HOUR - MS)).height == 1
    assert found.filter(still_open(START + HALF_HOUR)).is_empty()
