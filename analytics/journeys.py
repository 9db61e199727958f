"""Journeys of people through steps: funnels.

Belongs here: who got how far, and how long it took. Does not belong here: which events are a step (`serving.journeys`),
paths and retention, which SQL counts (dbt_project/macros/journeys.sql).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.sessions import IDENTITY

MOST_FUNNEL_STEPS = 6

FUNNEL_SCHEMA: dict[str, pl.DataType] = {
    "step": pl.Int64(),  # 1 is the first
    "people": pl.Int64(),  # who got at least this far
    "of_previous": pl.Float64(),  # share of those who were at the step before; null where nobody was, and for the first
    "of_first": pl.Float64(),
    "median_ms_from_previous": pl.Float64(),  # of those who got here; null where nobody did, and for the first
}

_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


def funnel(events: pl.DataFrame, steps: Sequence[str], within: timedelta) -> pl.DataFrame:
    """How many people went through the steps in order (FUNNEL_SCHEMA).

    events: identity columns, `event_time` (UTC, ms), `event_id`, and a Boolean column per name in `steps`: whether the
    event is that step. Each step must come after the one before it in the order of (event_time, event_id), and no later
    than `within` after the first. Of a person's attempts the one that gets furthest counts, of several the earliest.
    Raises ValueError for fewer than one or more than six steps.
    """
    if not 1 <= len(steps) <= MOST_FUNNEL_STEPS:
        raise ValueError(f"a funnel has 1 to {MOST_FUNNEL_STEPS} steps, not {len(steps)}")
    rows = events.sort(*IDENTITY, "event_time", "event_id")
    times: _Ints = rows["event_time"].dt.epoch("ms").to_numpy()
    person: _Ints = rows.select(pl.struct(IDENTITY).rle_id()).to_series().cast(pl.Int64).to_numpy()
    flags = [rows[name].to_numpy() for name in steps]
    reached = _attempts(person, times, flags, within // timedelta(milliseconds=1))
    level = (reached >= 0).sum(axis=1)
    best = _best(person, reached, level)
    return _summary(times, reached[best], level[best], len(steps))


def _attempts(person: _Ints, times: _Ints, flags: Sequence[_Flags], within: int) -> _Ints:
    """Per attempt (an event that is the first step) the row of each step, -1 from the step that was not reached.

    The next step is the earliest possible one: whoever takes a later one cannot get further.
    """
    here = np.flatnonzero(flags[0])
    found = [here]
    for flag in flags[1:]:
        rows = np.append(np.flatnonzero(flag), -1)
        after = rows[np.searchsorted(rows[:-1], found[-1], side="right")]
        ok = (found[-1] >= 0) & (after >= 0)
        ok &= (person[after] == person[here]) & (times[after] - times[here] <= within)
        found.append(np.where(ok, after, -1))
    return np.stack(found, axis=1)


def _best(person: _Ints, reached: _Ints, level: _Ints) -> _Ints:
    """The attempt of each person that counts."""
    order = np.lexsort((reached[:, 0], -level, person[reached[:, 0]]))
    who = person[reached[order, 0]]
    return order[np.append(True, who[1:] != who[:-1])] if len(order) else order


def _summary(times: _Ints, reached: _Ints, level: _Ints, steps: int) -> pl.DataFrame:
    people = [int((level > number).sum()) for number in range(steps)]
    rows = []
    for number, count in enumerate(people):
        before = people[number - 1] if number else 0
        there = reached[level > number]
        took = times[there[:, number]] - times[there[:, number - 1]]
        rows.append(
            (
                number + 1,
                count,
                count / before if before else None,
                count / people[0] if people[0] else None,
                float(np.median(took)) if number and count else None,
            )
        )
    return pl.DataFrame(rows, schema=FUNNEL_SCHEMA, orient="row")
