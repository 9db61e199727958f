"""A session that goes on equals the session cut from all its events, or is named as one that must be cut."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from session_people import looked_at, row

from analytics.session_growth import grow
from analytics.sessions import IDENTITY, SESSION_EVENT_SCHEMA, sessionise
from contracts.envelope import EVENT_SCHEMA

START = datetime(2026, 3, 4, 23, tzinfo=UTC)
_minutes = st.lists(st.integers(0, 29), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), before=_minutes, after=_minutes, pause=st.integers(1, 40), days=st.integers(0, 1))
def test_growing_equals_cutting_from_everything(
    seed: int, before: list[int], after: list[int], pause: int, days: int
) -> None:
    chance = random.Random(seed)
    times, at = [], START
    for minutes in (*before, *[25] * (57 * days)):
        at += timedelta(minutes=minutes)
        times.append(at)
    at += timedelta(minutes=pause)
    later = [at + timedelta(minutes=sum(after[:n])) for n in range(len(after))]

    def events(at_times: list[datetime]) -> pl.DataFrame:
        rows: list[dict[str, Any]] = [row(chance, "ann", each, workspace="acme", network="app") for each in at_times]
        return pl.DataFrame(looked_at(pl.DataFrame(rows, schema=EVENT_SCHEMA)), schema=SESSION_EVENT_SCHEMA)

    old, new = events(times), events(later)
    cut = sessionise(old)
    grown, hard = grow(cut.tail(1), sessionise(new), new)
    whole = sessionise(pl.concat([old, new]))
    if hard.is_empty():
        kept = cut.join(grown, on="session_id", how="anti")
        assert pl.concat([kept, grown]).sort("started_at").to_dicts() == whole.to_dicts()
    else:
        assert grown.is_empty()
        assert hard.select(IDENTITY).rows() == [("acme", "app", "ann", "")]
