"""Sessions, paths, ends, retention and funnels of a range.

Belongs here: questions with their checks. Does not belong here: SQL text, scores (`scores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from analytics.journeys import MOST_FUNNEL_STEPS, funnel
from analytics.sessions import IDENTITY
from contracts.envelope import UTC_MS
from contracts.event_types import EVENT_TYPES
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.errors import QueryError, UnknownNameError
from serving.timeline import zone

PATH_LENGTHS = (2, 3, 4, 5)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2106, 1, 1, tzinfo=UTC)
_END = "fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which sessions: those that start in `[start, end)`, UTC; None is without a bound. Filters are exact values."""

    start: datetime | None = None
    end: datetime | None = None
    workspace: str | None = None
    network: str | None = None
    actor: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        start, end = self.start or _EPOCH, self.end or _LAST
        if start >= end:
            raise QueryError(f"range: start {start.isoformat()} must be before end {end.isoformat()}")
        given = {"from_ms": _millis(start), "to_ms": _millis(end), "from_s": _millis(start) // 1000}
        return given | {name: getattr(self, name) for name in self._filters}

    @property
    def _filters(self) -> list[str]:
        return [name for name in ("workspace", "network", "actor") if getattr(self, name) is not None]

    def condition(self, *, since_ever: bool = False, at: str = "started_at") -> str:
        """SQL over sessions; `since_ever` leaves the start open. `at` names the time that the range is about."""
        bounds = [f"{at} < {_END}"]
        if not since_ever:
            bounds.append(f"{at} >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC')")
        return " AND ".join(bounds + [f"{name} = {{{name}:String}}" for name in self._filters])


def list_sessions(client: Client, scope: Scope, limit: int = 50) -> pl.DataFrame:
    """The newest sessions of the scope; `sealed` is false for those that events may still join."""
    sql = f"""
        SELECT * REPLACE (toString(session_id) AS session_id, toString(first_event_id) AS first_event_id,
            toString(last_event_id) AS last_event_id)
        FROM ({render("session_rows", condition=scope.condition())})
        ORDER BY started_at DESC, session_id LIMIT {{limit:UInt64}}"""  # noqa: S608 # made of constants
    return query_frame(client, sql, {**scope.parameters, "limit": limit})


def top_paths(client: Client, scope: Scope, length: int, limit: int = 20) -> pl.DataFrame:
    """The most frequent runs of `length` steps: `path`, `sessions`, `people`, `engaged`, `met_first` (UTC).

    A session counts once for a run that it repeats. Raises QueryError for a length other than 2 to 5.
    """
    if length not in PATH_LENGTHS:
        raise QueryError(f"length: paths have {PATH_LENGTHS[0]} to {PATH_LENGTHS[-1]} steps, not {length}")
    sql = render("top_paths", condition=scope.condition())
    return _met(query_frame(client, sql, {**scope.parameters, "length": length, "limit": limit}))


def session_ends(client: Client, scope: Scope, side: str, limit: int = 20) -> pl.DataFrame:
    """The most frequent first or last items: `item`, `sessions`, `engaged`, `met_first` (UTC)."""
    if side not in ("entry", "exit"):
        raise UnknownNameError("side of a session", side, ("entry", "exit"))
    sql = render("session_ends", side=side, condition=scope.condition())
    return _met(query_frame(client, sql, {**scope.parameters, "limit": limit}))


def retention(client: Client, scope: Scope, tz: str = "UTC") -> pl.DataFrame:
    """Per week of first sessions in the range: `cohort`, `weeks_after`, `people`, and their share `of_cohort`.

    `cohort` is the start of the week's Monday in the zone. A week that is not over yet can still grow.
    """
    zone(tz)
    sql = render("retention", condition=scope.condition(since_ever=True))
    found = query_frame(client, sql, {**scope.parameters, "tz": tz})
    first = pl.col("people").filter(pl.col("weeks_after") == 0).first().over("cohort_s")
    return found.select(
        pl.from_epoch(pl.col("cohort_s").cast(pl.Int64), "s").dt.convert_time_zone(tz).alias("cohort"),
        "weeks_after",
        pl.col("people").cast(pl.Int64),
        (pl.col("people") / first).alias("of_cohort"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a funnel: an event type, and the item it is about, None for any."""

    type: str
    item: str | None = None

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read `TYPE` or `TYPE:ITEM`. Raises UnknownNameError for a type that does not exist."""
        kind, colon, item = text.strip().partition(":")
        if kind not in EVENT_TYPES:
            raise UnknownNameError("event type", kind, EVENT_TYPES)
        return cls(kind, item if colon else None)

    def __str__(self) -> str:
        return self.type if self.item is None else f"{self.type}:{self.item}"


@dataclass(frozen=True, slots=True)
class FunnelAnswer:
    """`frame`: FUNNEL_SCHEMA with `event`, the step in words, after `step`."""

    steps: tuple[Step, ...]
    within: timedelta
    frame: pl.DataFrame = field(repr=False)


def ask_funnel(client: Client, scope: Scope, steps: Sequence[Step], within: timedelta) -> FunnelAnswer:
    """Who, of all that did the first step in the range, went through the others in order in time.

    The later steps may lie past the end of the range, by `within` at most. Raises QueryError for too many steps or a
    limit that is not positive.
    """
    if not 1 <= len(steps) <= MOST_FUNNEL_STEPS:
        raise QueryError(f"step: a funnel has 1 to {MOST_FUNNEL_STEPS} steps, not {len(steps)}")
    if within <= timedelta(0):
        raise QueryError(f"within: must be longer than nothing, not {within}")
    given = dict(scope.parameters)
    own_end = scope.end or _LAST
    given["to_ms"] = min(_millis(_LAST), _millis(own_end) + within // timedelta(milliseconds=1))
    tests = []
    for number, step in enumerate(steps):
        given[f"type{number}"] = step.type
        test = f"type = {{type{number}:String}}"
        if step.item is not None:
            given[f"item{number}"] = step.item
            test += f" AND item = {{item{number}:String}}"
        tests.append(f"toUInt8({test})")
    names = [f"step{number}" for number in range(len(steps))]
    types = ", ".join(f"{{type{number}:String}}" for number in range(len(steps)))
    condition = scope.condition(at="event_time") + f" AND type IN ({types})"
    found = query_frame(client, render("funnel_events", step=f"[{', '.join(tests)}]", condition=condition), given)
    events = found.with_columns(
        pl.col(IDENTITY).cast(pl.String),
        pl.col("event_time").cast(UTC_MS),
        *(pl.col("step").list.get(number).cast(pl.Boolean).alias(name) for number, name in enumerate(names)),
    )
    in_range = pl.col("event_time") < pl.lit(own_end).cast(UTC_MS)
    counted = funnel(events.with_columns(pl.col(names[0]) & in_range), names, within)
    words = pl.Series("event", [str(step) for step in steps], dtype=pl.String)
    return FunnelAnswer(tuple(steps), within, counted.insert_column(1, words))


def _met(found: pl.DataFrame) -> pl.DataFrame:
    return found.with_columns(pl.col("met_first").struct[0].alias("met_first"))


def _millis(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
