"""Sessions: what one actor or device did without a pause, cut out of its events in columns.

Belongs here: the rule and what a session adds up to. Does not belong here: which event is a view or what it is worth
(`session_event_rows` in dbt_project/macros/sessions.sql), facts and storing (`assets.sessions`), paths (`journeys`).

Formulas: docs/definitions.md, "Sessions". All times are UTC.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.envelope import UTC_MS
from contracts.identity import SEPARATOR, derive_ids

GAP = timedelta(minutes=30)
"""A pause of this length or longer splits."""

LONGEST = timedelta(hours=24)
"""No session is longer: the first event further from the start than this begins the next one."""

ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_VIEWS = 2

MOST_STEPS = 100
"""A session's path keeps its first so many steps; `steps` counts all of them."""

IDENTITY = ("workspace", "network", "actor", "device_id")
"""Whose session it is. `device_id` is empty where there is an actor, so that the two never meet."""

SESSION_EVENT_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),
    "network": pl.String(),
    "actor": pl.String(),
    "device_id": pl.String(),
    "event_time": UTC_MS,
    "event_id": pl.String(),
    "view": pl.Boolean(),  # a screen, page or content was shown
    "key_event": pl.Boolean(),  # a conversion, or marked as a key event
    "item": pl.String(),  # object, else page; '' where neither is named
    "campaign": pl.String(),
    "device": pl.String(),  # kind of device
    "goal_minor": pl.Int64(),  # worth of a key event in minor units, null where none is given
    "goal_currency": pl.String(),
}
"""What sessions look at in an event."""

SESSION_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),
    "network": pl.String(),
    "actor": pl.String(),
    "device_id": pl.String(),
    "session_id": pl.String(),
    "started_at": UTC_MS,
    "ended_at": UTC_MS,  # time of the last event: a session of one event lasts 0 s
    "first_event_id": pl.String(),
    "last_event_id": pl.String(),
    "events": pl.UInt32(),
    "events_after_midnight": pl.UInt32(),  # of these, those on the UTC day after the one it started on
    "views": pl.UInt32(),
    "key_events": pl.UInt32(),
    "engaged": pl.Boolean(),
    "entry": pl.String(),  # first and last item viewed, or met at all where nothing was viewed; '' where none
    "exit": pl.String(),
    "campaign": pl.String(),  # of the first event that names one
    "device": pl.String(),
    "goal_minor": pl.Int64(),  # in `goal_currency`, that of the first goal with a worth
    "goal_currency": pl.String(),
    "goals_in_other_currencies": pl.UInt32(),  # their worth is in no sum
    "steps": pl.UInt32(),
    "path": pl.List(pl.String()),  # items viewed (or met) in order, one that follows itself once
}

_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


def identified(events: pl.DataFrame) -> pl.DataFrame:
    """The events that have an actor or a device; the others are in no session."""
    return events.filter((pl.col("actor") != "") | (pl.col("device_id") != ""))


def sessionise(events: pl.DataFrame) -> pl.DataFrame:
    """Cut sessions (SESSION_SCHEMA) out of events (SESSION_EVENT_SCHEMA, each once, in any order).

    Per identity, ordered by (event_time, event_id), a session begins where the pause is 30 minutes or longer, or where
    the session would last longer than 24 hours. Its id is the UUIDv5 (RFC 9562, namespace of contracts.identity) of
    identity and first event id, so it stays while its first event does. One identity's sessions are in order of time.
    """
    rows = _in_order(identified(events))
    if rows.is_empty():
        return pl.DataFrame(schema=SESSION_SCHEMA)
    first = _begins(rows)
    number = np.cumsum(first) - 1
    rows = rows.with_columns(pl.Series("session", number.astype(np.uint32)).set_sorted())
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], rows.height) - 1
    sessions = rows[starts].select(
        "session",
        *IDENTITY,
        pl.col("event_time").alias("started_at"),
        pl.col("event_id").alias("first_event_id"),
    )
    names = pl.concat_str(*IDENTITY, "first_event_id", separator=SEPARATOR)
    sessions = sessions.with_columns(
        rows["event_time"][ends].alias("ended_at"),
        rows["event_id"][ends].alias("last_event_id"),
        derive_ids(sessions.select(names).to_series()).alias("session_id"),
        *_sums(rows, sessions, starts),
    )
    sessions = sessions.join(_firsts(rows), on="session", how="left", maintain_order="left")
    sessions = sessions.join(_paths(rows, sessions), on="session", how="left", maintain_order="left")
    engaged = (
        (pl.col("ended_at") - pl.col("started_at") > ENGAGED_AFTER)
        | (pl.col("key_events") > 0)
        | (pl.col("views") >= ENGAGED_VIEWS)
    )
    text = ("entry", "exit", "campaign", "device", "goal_currency")
    counts = ("goal_minor", "goals_in_other_currencies", "steps")
    return sessions.with_columns(
        engaged.alias("engaged"), pl.col(text).fill_null(""), pl.col(counts).fill_null(0), pl.col("path").fill_null([])
    ).select(pl.col(name).cast(dtype) for name, dtype in SESSION_SCHEMA.items())


def not_in(events: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """The events that come after the given sessions' last ones, at most one session per identity.

    How a day is cut without the days before it: what the day before left open takes its events first.
    """
    taken = sessions.select(*IDENTITY, "ended_at", "last_event_id")
    later = (pl.col("event_time") > pl.col("ended_at")) | (
        (pl.col("event_time") == pl.col("ended_at")) & (pl.col("event_id") > pl.col("last_event_id"))
    )
    return (
        events.join(taken, on=IDENTITY, how="left", maintain_order="left")
        .filter(pl.col("ended_at").is_null() | later)
        .drop("ended_at", "last_event_id")
    )


def still_open(until: object) -> pl.Expr:
    """True for a session that an event at or after the instant `until` (UTC) could still join."""
    instant = pl.lit(until).cast(UTC_MS)
    return (instant - pl.col("ended_at") < GAP) & (instant - pl.col("started_at") <= LONGEST)


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    """The events by person, time and id, with `who`, a number per identity.

    Numbers sort ten times as fast as names, and ids are looked at only where two events have one time.
    """
    names = events.select(IDENTITY)
    people = names.unique().with_row_index("who")
    who = names.join(people, on=IDENTITY, how="left", maintain_order="left")["who"]
    keys = events.select("event_time").with_columns(who)
    order = keys.select(pl.arg_sort_by("who", "event_time")).to_series()
    in_order = keys[order]
    same = (pl.col("who") == pl.col("who").shift(1)) & (pl.col("event_time") == pl.col("event_time").shift(1))
    tied = in_order.select((same | same.shift(-1)).fill_null(value=False)).to_series()
    if tied.any():
        places = order.filter(tied)
        tying = in_order.filter(tied).with_columns(events["event_id"][places])
        right = tying.select(pl.arg_sort_by("who", "event_time", "event_id")).to_series()
        order = order.scatter(tied.arg_true(), places[right])
    return events.with_columns(who)[order]


def _begins(rows: pl.DataFrame) -> _Flags:
    """True for every row that begins a session; rows are as `_in_order` returns them."""
    other = pl.col("who") != pl.col("who").shift(1)
    pause = pl.col("event_time").diff() >= GAP
    first = rows.select((other | pause.fill_null(value=True)).alias("first")).to_series().to_numpy().copy()
    first[0] = True
    times: _Ints = rows["event_time"].to_physical().to_numpy()
    limit = LONGEST // timedelta(milliseconds=1)
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(times))
    for chain in np.flatnonzero(times[ends - 1] - times[starts] > limit):
        start, end = starts[chain], ends[chain]
        while True:
            start += np.searchsorted(times[start:end], times[start] + limit, side="right")
            if start >= end:
                break
            first[start] = True
    return first


def _sums(rows: pl.DataFrame, sessions: pl.DataFrame, starts: _Ints) -> list[pl.Series]:
    """Counts per session, by adding up between the sessions' first rows."""
    midnight = sessions["started_at"].dt.truncate("1d").to_physical().to_numpy() + 86_400_000
    later = rows["event_time"].to_physical().to_numpy() >= midnight[rows["session"].to_numpy()]
    flags = {
        "events": np.ones(rows.height, np.uint32),
        "events_after_midnight": later,
        "views": rows["view"].to_numpy(),
        "key_events": rows["key_event"].to_numpy(),
    }
    return [pl.Series(name, np.add.reduceat(flag.astype(np.uint32), starts)) for name, flag in flags.items()]


def _firsts(rows: pl.DataFrame) -> pl.DataFrame:
    """Per session what its first event that says so says: campaign, device; and goals in the first goal's currency."""
    said = None
    for name in ("campaign", "device"):
        told = rows.filter(pl.col(name) != "").select("session", name)
        told = told.filter((pl.col("session") != pl.col("session").shift(1)).fill_null(value=True))
        said = told if said is None else said.join(told, on="session", how="full", coalesce=True)
    goals = (
        rows.filter(pl.col("goal_minor").is_not_null())
        .with_columns((pl.col("goal_currency") == pl.col("goal_currency").first().over("session")).alias("same"))
        .group_by("session")
        .agg(
            pl.col("goal_minor").filter("same").sum(),
            pl.col("goal_currency").first(),
            (~pl.col("same")).sum().alias("goals_in_other_currencies"),
        )
    )
    assert said is not None  # noqa: S101 # two names are two rounds
    return said.join(goals, on="session", how="full", coalesce=True)


def _paths(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Per session its steps: items of views, or of all events where nothing was viewed."""
    viewed = sessions["views"].to_numpy()[rows["session"].to_numpy()] > 0
    met = rows.filter((pl.col("item") != "") & (pl.col("view") | ~pl.Series(viewed))).select("session", "item")
    again = (pl.col("item") == pl.col("item").shift(1)) & (pl.col("session") == pl.col("session").shift(1))
    return (
        met.filter(~again.fill_null(value=False))
        .group_by("session")
        .agg(
            pl.col("item").first().alias("entry"),
            pl.col("item").last().alias("exit"),
            pl.len().alias("steps"),
            pl.col("item").head(MOST_STEPS).alias("path"),
        )
    )
