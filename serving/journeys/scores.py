"""Engagement scores of a range, by any dimension of events.

Belongs here: counting what a score weighs. Does not belong here: weights (`contracts/scores`), the sum
(`analytics.engagement_score`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import polars as pl

from analytics.engagement_score import engagement_score
from contracts.scores import Score
from resources.clickhouse import Client
from serving.query import MetricAnswer, MetricQuery, QueryError, answer


def score_answer(
    client: Client, score: Score, question: MetricQuery, limit: int | None = None, now: datetime | None = None
) -> tuple[pl.DataFrame, MetricAnswer]:
    """Score every member of the question's groups; also returns the counts that it was made of.

    question: of metric `events`, grain `total`, with the groups that are to be scored; its limit is not used. The same
    version over the same data always gives the same points. Raises QueryError for groups with `type`.
    """
    if "type" in question.by or not question.by:
        raise QueryError("by: name what is to be scored: network, workspace, object, campaign or topic")
    counted = answer(client, replace(question, by=(*question.by, "type"), grain="total", limit=None), now)
    counts = counted.frame.rename({"value": "events"})
    scored = engagement_score(counts, {str(name): weight for name, weight in score.weights.items()}, tuple(question.by))
    return (scored if limit is None else scored.head(limit)), counted
