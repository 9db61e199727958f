"""Live answers about sessions before a day is sealed are the sealed ones after it, in every bucket and dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from session_people import FIRST_DAY, batches, people

from assets.sealing import Sealed
from contracts.facts import FACT_DATASETS
from contracts.metric_catalogue import Fact, catalogue
from serving.query import MetricQuery, QueryError, answer
from streaming.publisher.sessions import LiveSessions

DAY = timedelta(days=1)
OF_SESSIONS = [
    name for name, each in catalogue().items() if isinstance(each.measure, Fact) and each.measure.dataset == "sessions"
]


def ask(platform: Any, metric: str, **asked: Any) -> list[tuple[Any, ...]]:
    query = MetricQuery(metric, start=FIRST_DAY, end=FIRST_DAY + 4 * DAY, **asked)
    frame = answer(platform.clickhouse, query).frame
    return sorted(frame.filter(pl.col("value") != 0).select("bucket", *query.by, "value").rows())


def test_as_of_gives_the_same_sessions_or_says_why_not(
    platform: Any, clickhouse_url: str, seal_all: Callable[..., Sealed]
) -> None:
    events = people(23, count=60)
    platform.send(events, at=FIRST_DAY + 4 * DAY)
    task = LiveSessions(clickhouse_url)
    task.run(FIRST_DAY)
    query = MetricQuery("sessions", start=FIRST_DAY, end=FIRST_DAY + 2 * DAY, grain="day")
    first = answer(platform.clickhouse, query)
    assert all(first.frame["value"])
    then = replace(query, as_of=first.as_of)
    assert answer(platform.clickhouse, then).frame.equals(first.frame)

    later = people(24, count=5, received_at=first.as_of + timedelta(seconds=1))
    platform.send(later, at=FIRST_DAY + 4 * DAY + timedelta(minutes=1))
    task.run(FIRST_DAY)
    after = first.as_of + timedelta(minutes=1)
    with pytest.raises(QueryError, match="as_of: sessions of app on 2026-03-04 were not sealed at"):
        answer(platform.clickhouse, then, after)
    assert not seal_all().failed
    sealed = answer(platform.clickhouse, query)
    assert answer(platform.clickhouse, replace(query, as_of=sealed.as_of)).frame.equals(sealed.frame)


@pytest.mark.parametrize("seed", [21, 22])
def test_live_before_sealing_is_sealed_after_it(
    platform: Any, clickhouse_url: str, seal_all: Callable[..., Sealed], seed: int
) -> None:
    """Late, doubled and reordered rows, sessions over midnight and one that never pauses."""
    events = people(seed, count=200)
    task = LiveSessions(clickhouse_url)
    for number, batch in enumerate(batches(seed, events)):
        platform.send(batch, at=FIRST_DAY + 4 * DAY + timedelta(minutes=number))
        task.run(FIRST_DAY)
    platform.clickhouse.command("INSERT INTO session_events SELECT * FROM session_events WHERE log_offset % 3 = 0")

    def answers() -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
        found = {(name, grain): ask(platform, name, grain=grain) for name in OF_SESSIONS for grain in ("hour", "day")}
        dimensions = ("network", "workspace", *FACT_DATASETS["sessions"].dimensions)
        found |= {("by", name): ask(platform, "session_events", grain="hour", by=[name]) for name in dimensions}
        return found | {("tz",): ask(platform, "sessions", grain="day", tz="Asia/Kolkata")}

    live = answers()
    assert all(live.values())
    assert not seal_all().failed
    platform.clickhouse.command("TRUNCATE TABLE live_sessions")
    assert answers() == live
