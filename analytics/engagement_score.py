"""The engagement score: counts of events, weighed.

Belongs here: the sum and its parts. Does not belong here: weights (`contracts/scores`), counting events (`serving`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from contracts.event_types import ENGAGEMENT_OF_TYPE


def engagement_score(counts: pl.DataFrame, weights: Mapping[str, int], by: Sequence[str]) -> pl.DataFrame:
    """Weigh counts of events: one row per member of `by`, highest score first.

    counts: the columns of `by`, `type` (an event type) and `events`, a count. weights: points by engagement class.
    Returns the columns of `by`, `score` (points, the sum over classes of weight times events), `events` (those that
    have a weight) and one column per class with its points. Members without any such event have no row.
    """
    classed = counts.with_columns(
        pl.col("type").replace_strict(dict(ENGAGEMENT_OF_TYPE), default="none", return_dtype=pl.String).alias("class")
    ).filter(pl.col("class").is_in(list(weights)))
    points = [
        (pl.col("events").filter(pl.col("class") == name).sum().cast(pl.Int64) * weight).alias(name)
        for name, weight in weights.items()
    ]
    together = classed.group_by(by).agg(pl.col("events").sum().cast(pl.Int64), *points)
    scored = together.with_columns(pl.sum_horizontal(list(weights)).alias("score"))
    order = scored.select(*by, "score", "events", *weights)
    return order.filter(pl.col("events") > 0).sort("score", *by, descending=[True, *(False for _ in by)])
