"""Trending topics: how unlikely a number of people is after the panes before it, and what follows for a board.

Belongs here: the predictive tail, effective actors and the reason of a dampening, who enters, stays and leaves, the
order. Does not belong here: counting (dbt_project/macros/trends.sql), extracting topics, storing boards.

Formulas: docs/definitions.md, "Topics and trends". Time is cut into panes of 10 s. A window is `m` whole panes that end
with the hop; its baseline is the hour of panes before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.tails import Floats, log10_negative_binomial_tail

PANE = timedelta(seconds=10)
WINDOWS = {"1m": 6, "5m": 30, "15m": 90}
"""Panes of each window, by name."""

BASELINE_PANES = 360
"""The hour before a window: long enough to know a rate of one a minute, short enough to follow the time of day."""

ENTER_LOG10 = -7.0
LEAVE_LOG10 = -4.0
LEAST_ACTORS = 5
HALF_LIFE = timedelta(hours=1)
"""A topic's score halves with every hour it has been on the board: what is new stands above what is known."""

BOARD_SIZE = 100

KEY = ("workspace", "network", "window", "kind", "topic")
"""What an entry is of. `network` 'all' is every network of the workspace together."""

STATS_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),
    "network": pl.String(),
    "window": pl.String(),
    "kind": pl.String(),
    "topic": pl.String(),  # the folded form that is counted
    "label": pl.String(),  # a spelling people used
    "events": pl.Int64(),
    "distinct_actors": pl.Int64(),  # merged over the window, never a sum of panes
    "effective_actors": pl.Float64(),
    "top_share": pl.Float64(),  # of the window's events, by the busiest actor
    "baseline": pl.Int64(),  # s: distinct actors of each past pane, added up
    "past_panes": pl.Int64(),  # n
}
BOARD_SCHEMA: dict[str, pl.DataType] = {
    **STATS_SCHEMA,
    "log10_p": pl.Float64(),  # of the distinct actors: decides who is on the board
    "score": pl.Float64(),
    "dampening": pl.String(),  # '' or a reason of DAMPENING
    "entered_at": pl.Datetime("ms", "UTC"),
    "rank": pl.Int64(),  # from 1
}

DAMPENING = {
    "one_actor": "one actor made most of it",
    "few_actors": "a few actors made most of it",
    "repeated": "the same actors post it over and over",
}


def log10_tail(actors: npt.ArrayLike, baseline: npt.ArrayLike, past: npt.ArrayLike, window: npt.ArrayLike) -> Floats:
    """log10 P(X >= actors) in a window of `window` panes, after a total of `baseline` in `past` panes.

    A rate with a Gamma(1/2, 1/2) prior predicts NegBin(r = 1/2 + s, p = (1/2 + n) / (1/2 + n + m)).
    """
    s, n, m = (np.asarray(each, dtype=np.float64) for each in (baseline, past, window))
    return log10_negative_binomial_tail(actors, 0.5 + s, (0.5 + n) / (0.5 + n + m))


def effective_actors(events: npt.ArrayLike) -> float:
    """exp(entropy of the actors' event shares): how many equally active people would look like this. 0 for nobody."""
    counts = np.asarray(events, dtype=np.float64)
    counts = counts[counts > 0]
    total = counts.sum()
    return float(np.exp(np.log(total) - (counts * np.log(counts)).sum() / total)) if total else 0.0


def board(stats: pl.DataFrame, previous: pl.DataFrame, hop: datetime) -> pl.DataFrame:
    """Return who is on each board at the end of `hop` (BOARD_SCHEMA, best first), at most BOARD_SIZE a board.

    stats: STATS_SCHEMA, a row per candidate; a topic without a row has an empty window and leaves.
    previous: the boards one hop before: KEY columns and `entered_at` (UTC, ms).

    It enters when P < 1e-7 with at least 5 distinct actors, and stays while P <= 1e-4. Equal scores stand by topic,
    descending by code point, as Redis orders them.
    """
    known = previous.select(*KEY, pl.col("entered_at").cast(pl.Datetime("ms", "UTC")))
    rows = stats.filter(pl.col("distinct_actors") > 0).join(known, on=KEY, how="left")
    panes = rows["window"].replace_strict(WINDOWS, return_dtype=pl.Int64).to_numpy()
    rows = rows.with_columns(
        log10_p=pl.Series(log10_tail(rows["distinct_actors"], rows["baseline"], rows["past_panes"], panes)),
        effective_p=pl.Series(log10_tail(rows["effective_actors"], rows["baseline"], rows["past_panes"], panes)),
    )
    enters = (pl.col("log10_p") < ENTER_LOG10) & (pl.col("distinct_actors") >= LEAST_ACTORS)
    stays = pl.col("entered_at").is_not_null() & (pl.col("log10_p") <= LEAVE_LOG10)
    entered = pl.coalesce("entered_at", pl.lit(hop).cast(pl.Datetime("ms", "UTC")))
    age = (pl.lit(hop) - pl.col("entered_at")).dt.total_milliseconds().clip(0) / (HALF_LIFE / timedelta(milliseconds=1))
    return (
        rows.filter(enters | stays)
        .with_columns(entered_at=entered)
        .with_columns(score=(-pl.col("effective_p") * 0.5**age).round(6), dampening=_dampening())
        .sort("score", "topic", descending=True)
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("workspace", "network", "window", "kind").cast(pl.Int64))
        .filter(pl.col("rank") <= BOARD_SIZE)
        .select(pl.col(name).cast(dtype) for name, dtype in BOARD_SCHEMA.items())
    )


def with_all_networks(sums: pl.DataFrame) -> pl.DataFrame:
    """Add the rows of network 'all' and the columns that are not additive; returns STATS_SCHEMA.

    sums: workspace, network, window, kind, topic, label, events, distinct_actors, entropy_sum (e * ln e over actors),
    top_events (of the busiest actor), baseline, past_panes; also of networks where the window is empty, because their
    baselines count for 'all'. An actor belongs to one network, so actors add up over networks, as nothing else distinct
    does.
    """
    total = sums.group_by("workspace", "window", "kind", "topic").agg(
        pl.lit("all").alias("network"),
        pl.col("label").min(),
        pl.col("events", "distinct_actors", "entropy_sum", "baseline").sum(),
        pl.col("top_events", "past_panes").max(),
    )
    both = pl.concat([sums, total.select(sums.columns)]).filter(pl.col("events") > 0)
    events = pl.col("events").cast(pl.Float64)
    effective = (events.log() - pl.col("entropy_sum") / events).exp()
    return both.with_columns(
        # Rounding must not make one actor 0.9999999 of one.
        effective_actors=pl.min_horizontal(effective.clip(1.0), pl.col("distinct_actors").cast(pl.Float64)),
        top_share=pl.col("top_events") / events,
    ).select(pl.col(name).cast(dtype) for name, dtype in STATS_SCHEMA.items())


def _dampening() -> pl.Expr:
    """Why the score counts fewer than it seems: against distinct actors, or against the events of a naive count."""
    uneven = pl.col("effective_actors") < 0.5 * pl.col("distinct_actors")
    repeated = pl.col("events") > 10 * pl.col("effective_actors")
    return (
        pl.when((pl.col("top_share") >= 0.5) & (uneven | repeated))
        .then(pl.lit("one_actor"))
        .when(uneven)
        .then(pl.lit("few_actors"))
        .when(repeated)
        .then(pl.lit("repeated"))
        .otherwise(pl.lit(""))
    )
