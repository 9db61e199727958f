"""Sealed sessions from the archive to the answer: equal to the loop, day by day or many at once, with late events."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from session_oracle import sessions_of
from session_people import FIRST_DAY, looked_at, people, row

from assets.sealing import Sealed
from assets.sessions import build
from contracts.envelope import EVENT_SCHEMA
from resources.clickhouse import query_frame
from serving.query import MetricQuery, answer

Read = Callable[..., list[dict[str, Any]]]
Seal = Callable[..., Sealed]
DAY = timedelta(days=1)


def oracle(events: pl.DataFrame) -> list[dict[str, Any]]:
    return sessions_of(looked_at(events))


def total(platform: Any, metric: str, **asked: Any) -> Any:
    query = MetricQuery(metric, start=FIRST_DAY, end=FIRST_DAY + 5 * DAY, grain="total", **asked)
    frame = answer(platform.clickhouse, query).frame
    return frame["value"][0] if not asked else dict(frame.select(*asked["by"], "value").iter_rows())


def test_days_sealed_at_once_equal_the_loop(platform: Any, seal_all: Seal, sealed_sessions: Read) -> None:
    sent = platform.send(people(1), at=FIRST_DAY + 3 * DAY)
    sealed = seal_all()
    assert not sealed.failed
    assert sealed_sessions() == oracle(sent)
    assert seal_all().reports == ()


def test_small_chunks_and_shards_give_the_same(
    platform: Any, seal_all: Seal, sealed_sessions: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MOST_EVENTS", 100)
    monkeypatch.setattr(build.chunks_of, "__defaults__", (400,))
    sent = platform.send(people(2), at=FIRST_DAY + 3 * DAY)
    seal_all()
    assert sealed_sessions() == oracle(sent)


def test_facts_count_what_the_loop_counts(platform: Any, seal_all: Seal) -> None:
    sent = platform.send(people(3), at=FIRST_DAY + 3 * DAY)
    seal_all()
    found = oracle(sent)
    everyone = looked_at(sent)
    assert total(platform, "sessions") == len(found)
    assert total(platform, "engaged_sessions") == sum(s["engaged"] for s in found)
    assert total(platform, "session_goal_value") == sum(s["goal_minor"] for s in found)
    assert total(platform, "unidentified_events") == len(everyone) - sum(s["events"] for s in found)
    for dimension in ("campaign", "device", "entry"):
        expected: dict[str, int] = {}
        for session in found:
            member = session[dimension] or "unknown"
            expected[member] = expected.get(member, 0) + 1
        assert total(platform, "sessions", by=[dimension]) == expected


def test_late_events_merge_lengthen_and_move_sessions_and_are_restated(
    platform: Any, seal_all: Seal, sealed_sessions: Read
) -> None:
    """Whatever the late rows do to neighbouring days and to what days hand on, the answer is the loop's over all."""
    first = platform.send(people(4), at=FIRST_DAY + 3 * DAY)
    seal_all()
    before = sealed_sessions()
    late = people(5, count=30).with_columns(received_at=pl.lit(FIRST_DAY + 4 * DAY).cast(EVENT_SCHEMA["received_at"]))
    sent = pl.concat([first, platform.send(late, at=FIRST_DAY + 4 * DAY)])
    seal_all(cause="late data")
    after = sealed_sessions()
    assert after == oracle(sent)
    restated = query_frame(
        platform.clickhouse,
        "SELECT member, old_value, new_value FROM restatements FINAL WHERE dataset = 'sessions'"
        " AND dimension = 'session' AND cause = 'late data' ORDER BY member",
    )
    old, new = ({s["session_id"]: s["events"] for s in found} for found in (before, after))
    gone = {name for name in old if name not in new}
    assert gone
    assert {name for name, _, value in restated.iter_rows() if value is None} == gone
    expected = sorted((n, old.get(n), new.get(n)) for n in old.keys() | new.keys() if old.get(n) != new.get(n))
    assert [(name, was, now) for name, was, now in restated.iter_rows()] == expected
    assert seal_all().reports == ()


@pytest.mark.parametrize(("days_late", "sessions"), [(29, 1), (31, 2)])
def test_an_event_within_the_horizon_merges_and_one_beyond_it_does_not(
    platform: Any, seal_all: Seal, sealed_sessions: Read, monkeypatch: pytest.MonkeyPatch, days_late: int, sessions: int
) -> None:
    chance = random.Random(6)

    def one(minute: int, received: datetime) -> pl.DataFrame:
        at = FIRST_DAY + timedelta(hours=9, minutes=minute)
        who = {"workspace": "acme", "network": "app", "received_at": received}
        return pl.DataFrame([row(chance, "ann", at, **who)], schema=EVENT_SCHEMA)

    now = datetime.now(tz=FIRST_DAY.tzinfo)
    platform.send(pl.concat([one(0, now), one(40, now)]))
    seal_all()
    assert len(sealed_sessions()) == 2
    platform.send(one(20, now + timedelta(days=days_late)))
    seal_all(cause="late data")
    assert len(sealed_sessions()) == sessions
