"""Sessions that go on: a session and what the same identity did after it, without the events it was cut from.

Belongs here: joining two neighbouring sessions where their sums suffice, and saying where they do not. Does not belong
here: the rule of a session (`analytics.sessions`).
"""

from __future__ import annotations

import polars as pl

from analytics.sessions import ENGAGED_AFTER, ENGAGED_VIEWS, GAP, IDENTITY, LONGEST, MOST_STEPS, SESSION_SCHEMA


def grow(last: pl.DataFrame, later: pl.DataFrame, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions of new events, the first of each identity joined to its last session where it goes on with it.

    last: at most one session per identity (SESSION_SCHEMA), ended before its identity's new events. later: the new
    events' own sessions. events: the new events (SESSION_EVENT_SCHEMA). Returns the sessions that are new or have
    grown, and the identities for which sums do not suffice: whose 24 hours end within the new events, or whose goals
    are in several currencies. Those are left out and must be cut from all their events.
    """
    first = later.unique(IDENTITY, keep="first", maintain_order=True)
    pairs = last.join(first, on=IDENTITY, suffix="_b").filter(pl.col("started_at_b") - pl.col("ended_at") < GAP)
    money = (pl.col("goal_currency") != "") & (pl.col("goal_currency_b") != "")
    other = money & (
        (pl.col("goal_currency") != pl.col("goal_currency_b")) | (pl.col("goals_in_other_currencies_b") > 0)
    )
    hard = pairs.filter((pl.col("ended_at_b") - pl.col("started_at") > LONGEST) | other).select(IDENTITY)
    joined = _join(pairs.join(hard, on=IDENTITY, how="anti"), events)
    rest = later.join(hard, on=IDENTITY, how="anti").join(
        pairs.select(pl.col("session_id_b").alias("session_id")), on="session_id", how="anti"
    )
    return pl.concat([joined, rest.select(joined.columns)]), hard


def _join(pairs: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """One session of each pair; columns of the later one end in `_b`."""
    midnight = pl.col("started_at").dt.truncate("1d") + pl.duration(days=1)
    after = (
        events.join(pairs.select(*IDENTITY, "started_at", "ended_at_b"), on=IDENTITY)
        .filter((pl.col("event_time") >= midnight) & (pl.col("event_time") <= pl.col("ended_at_b")))
        .group_by(IDENTITY)
        .agg(pl.len().alias("after"))
    )
    # Where one of the two has views and the other has not, the other's steps were no views: they are no steps of both.
    takes = (pl.col("steps") > 0) & ((pl.col("views") > 0) | (pl.col("views_b") == 0))
    takes_b = (pl.col("steps_b") > 0) & ((pl.col("views_b") > 0) | (pl.col("views") == 0))
    again = takes & takes_b & (pl.col("exit") == pl.col("entry_b"))
    of_a = pl.when(takes).then(pl.col("path")).otherwise(pl.lit([], dtype=pl.List(pl.String)))
    of_b = pl.when(takes_b).then(pl.col("path_b")).otherwise(pl.lit([], dtype=pl.List(pl.String)))
    tail = pl.when(again).then(of_b.list.slice(1)).otherwise(of_b)
    steps = pl.when(takes).then(pl.col("steps")).otherwise(0) + pl.when(takes_b).then(pl.col("steps_b")).otherwise(0)
    engaged = (
        (pl.col("ended_at_b") - pl.col("started_at") > ENGAGED_AFTER)
        | (pl.col("key_events") + pl.col("key_events_b") > 0)
        | (pl.col("views") + pl.col("views_b") >= ENGAGED_VIEWS)
    )

    def either(name: str) -> pl.Expr:
        return pl.when(pl.col(name) != "").then(pl.col(name)).otherwise(pl.col(f"{name}_b")).alias(name)

    joined = pairs.join(after, on=IDENTITY, how="left").with_columns(
        pl.col("ended_at_b").alias("ended_at"),
        pl.col("last_event_id_b").alias("last_event_id"),
        *(
            (pl.col(name) + pl.col(f"{name}_b")).alias(name)
            for name in ("events", "views", "key_events", "goal_minor", "goals_in_other_currencies")
        ),
        (pl.col("events_after_midnight") + pl.col("after").fill_null(0)).alias("events_after_midnight"),
        engaged.alias("engaged"),
        pl.when(takes).then("entry").when(takes_b).then("entry_b").otherwise(pl.lit("")).alias("entry"),
        pl.when(takes_b).then("exit_b").when(takes).then("exit").otherwise(pl.lit("")).alias("exit"),
        *(either(name) for name in ("campaign", "device", "goal_currency")),
        (steps - again.cast(pl.UInt32)).alias("steps"),
        pl.concat_list(of_a, tail).list.head(MOST_STEPS).alias("path"),
    )
    return joined.select(pl.col(name).cast(dtype) for name, dtype in SESSION_SCHEMA.items())
