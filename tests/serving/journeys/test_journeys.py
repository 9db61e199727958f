"""Paths, ends, retention, funnels and scores over sealed and live days equal plain Python over the loop's sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from session_oracle import sessions_of
from session_people import FIRST_DAY, looked_at, people

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from contracts.event_types import ENGAGEMENT_OF_TYPE
from contracts.scores import ScoreError, find_score
from serving.errors import QueryError, UnknownNameError
from serving.journeys.answers import Scope, Step, ask_funnel, list_sessions, retention, session_ends, top_paths
from serving.journeys.scores import score_answer
from serving.query import MetricQuery
from streaming.publisher.sessions import LiveSessions

DAYS = 12


@pytest.fixture
def sent(platform: Any, clickhouse_url: str) -> pl.DataFrame:
    """Twelve days: the first seven are sealed, the others live."""
    middle = FIRST_DAY + timedelta(days=7)
    events = people(31, days=DAYS, count=500)
    first = platform.send(events.filter(pl.col("event_time") < middle), at=FIRST_DAY + timedelta(days=DAYS))
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    request = SealRequest(FIRST_DAY, middle - timedelta(days=1))
    assert not seal_range(stores, request, "test-run", lambda _text: None).failed
    later = events.filter(pl.col("event_time") >= middle)
    sent = pl.concat([first, platform.send(later, at=FIRST_DAY + timedelta(days=DAYS))])
    LiveSessions(clickhouse_url).run(FIRST_DAY)
    return sent


def who(each: dict[str, Any]) -> tuple[str, ...]:
    return tuple(each[name] for name in ("workspace", "network", "actor", "device_id"))


def first_met(session: dict[str, Any]) -> tuple[datetime, str]:
    return session["started_at"], session["first_event_id"]


def test_paths_and_ends_equal_counting_them(platform: Any, sent: pl.DataFrame) -> None:
    found = sessions_of(looked_at(sent))
    listed = list_sessions(platform.clickhouse, Scope(), limit=10_000)
    assert sorted(listed["session_id"]) == sorted(session["session_id"] for session in found)
    assert listed["sealed"].n_unique() == 2
    for length in (2, 3, 4, 5):
        counts: Counter[tuple[str, ...]] = Counter()
        met: dict[tuple[str, ...], tuple[datetime, str]] = {}
        for session in found:
            path = session["path"]
            for run in {tuple(path[n : n + length]) for n in range(len(path) - length + 1)}:
                counts[run] += 1
                met[run] = min(met.get(run, first_met(session)), first_met(session))
        expected = sorted(counts, key=lambda run: (-counts[run], met[run], run))[:15]
        answer = top_paths(platform.clickhouse, Scope(), length, limit=15)
        assert [(tuple(path), n) for path, n in answer.select("path", "sessions").iter_rows()] == [
            (run, counts[run]) for run in expected
        ]
    for side in ("entry", "exit"):
        items = Counter(session[side] for session in found if session[side])
        ends = session_ends(platform.clickhouse, Scope(network="app"), side)
        assert dict(ends.select("item", "sessions").iter_rows()) == Counter(
            session[side] for session in found if session[side] and session["network"] == "app"
        )
        assert set(ends["item"]) <= set(items)


@pytest.mark.parametrize("tz_hours", [0, -3])
def test_retention_equals_sets_of_people_per_week(platform: Any, sent: pl.DataFrame, tz_hours: int) -> None:
    zone = {0: "UTC", -3: "America/Sao_Paulo"}[tz_hours]
    weeks: dict[tuple[str, ...], set[datetime]] = defaultdict(set)
    for session in sessions_of(looked_at(sent)):
        day = (session["started_at"] + timedelta(hours=tz_hours)).replace(hour=0, minute=0, second=0, microsecond=0)
        weeks[who(session)].add(day - timedelta(days=day.weekday()))
    expected: Counter[tuple[str, int]] = Counter()
    for mine in weeks.values():
        for week in mine:
            expected[f"{min(mine):%Y-%m-%d}", (week - min(mine)).days // 7] += 1
    found = retention(platform.clickhouse, Scope(), zone)
    assert {(f"{cohort:%Y-%m-%d}", after): n for cohort, after, n, _ in found.iter_rows()} == expected


def test_a_funnel_over_sealed_and_live_hours_follows_people(platform: Any, sent: pl.DataFrame) -> None:
    steps = [Step.parse("page.viewed"), Step.parse("content.clicked:o1"), Step.parse("ad.converted")]
    start, end, within = FIRST_DAY + timedelta(days=3), FIRST_DAY + timedelta(days=9), timedelta(days=2)
    types = dict(sent.select("event_id", "type").iter_rows())
    mine: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for event in sorted(looked_at(sent), key=lambda e: (e["event_time"], e["event_id"])):
        if event["actor"] or event["device_id"]:
            mine[who(event)].append(event)
    people_at = [0, 0, 0]
    for events in mine.values():
        best = 0
        for n, first in enumerate(events):
            if types[first["event_id"]] != "page.viewed" or not start <= first["event_time"] < end:
                continue
            level = 1
            for event in events[n + 1 :]:
                wanted = steps[level]
                if event["event_time"] - first["event_time"] > within:
                    break
                if types[event["event_id"]] == wanted.type and wanted.item in (None, event["item"]):
                    level += 1
                    if level == len(steps):
                        break
            best = max(best, level)
        for level in range(best):
            people_at[level] += 1
    given = ask_funnel(platform.clickhouse, Scope(start, end), steps, within)
    assert given.frame["people"].to_list() == people_at
    assert people_at[-1] > 0
    assert given.frame["event"].to_list() == ["page.viewed", "content.clicked:o1", "ad.converted"]


def test_a_score_is_its_weights_times_the_events(platform: Any, sent: pl.DataFrame) -> None:
    score = find_score("engagement", 1)
    expected: Counter[str] = Counter()
    for kind, item in sent.select("type", "object").iter_rows():
        if item:
            expected[item] += score.weights.get(ENGAGEMENT_OF_TYPE[kind], 0)
    found, _ = score_answer(platform.clickhouse, score, MetricQuery("events", by=("object",)))
    assert dict(found.select("object", "score").iter_rows()) == dict(expected)
    assert find_score() == score
    with pytest.raises(ScoreError, match="versions 1, not 7"):
        find_score("engagement", 7)


def test_wrong_questions_are_named(platform: Any) -> None:
    with pytest.raises(QueryError, match="not 6"):
        top_paths(platform.clickhouse, Scope(), 6)
    with pytest.raises(UnknownNameError, match="event type"):
        Step.parse("page.view:/a")
    with pytest.raises(QueryError, match="not 7"):
        ask_funnel(platform.clickhouse, Scope(), [Step("page.viewed")] * 7, timedelta(hours=1))
    with pytest.raises(QueryError, match="before end"):
        list_sessions(platform.clickhouse, Scope(FIRST_DAY, FIRST_DAY))
