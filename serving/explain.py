"""One number, explained: its definition, its SQL, the builds and log offsets it is made of, and how it has changed.

Belongs here: gathering what proves a number. Does not belong here: the number (`serving.query`), the SQL
(dbt_project/macros/explain.sql), printing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from contracts.metric_catalogue import Count, Metric, catalogue, measures_of, parts_of, types_of
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.errors import QueryError
from serving.plan import MEMBER_DIMENSIONS, Plan, check, find_metric, make_plan
from serving.query import MetricAnswer, MetricQuery, answer
from serving.timeline import bucket_edges, to_utc, zone

_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a number comes from. Times are UTC.

    `answer`: the metric of the one bucket, with SQL and `complete`. `metric`: its definition.
    `seals`: builds that answer (`bucket, network, build, events, sealed_at, cause, run_id`), oldest first, superseded
    ones too (`current` false); empty when live rows answer.
    `offsets`: `topic, partition, type, first_offset, last_offset, events` of the rows that are counted, or, for facts,
    of the bucket's events. `counted`: for a count of events and for both parts of a ratio of such counts, the rows
    found at these offsets: what the number must be. None where rows do not add up to it (distinct actors, facts).
    `parts`: archive parts with rows of these hours. `restatements`: every published change, oldest first.
    """

    answer: MetricAnswer
    metric: Metric
    asset: str
    seals: pl.DataFrame
    offsets: pl.DataFrame
    counted: tuple[int, ...] | None
    parts: pl.DataFrame
    restatements: pl.DataFrame

    @property
    def value(self) -> float | None:
        found = self.answer.frame["value"].to_list()
        return found[0] if found else None

    @property
    def proven(self) -> bool | None:
        """Whether the rows found in the log's places add up to the number; None where that proves nothing."""
        if self.counted is None:
            return None
        row = self.answer.frame.row(0, named=True)
        given = (row["numerator"], row["denominator"]) if len(self.counted) == 2 else (row["value"],)
        return self.counted == tuple(int(each) for each in given)


def explain(client: Client, query: MetricQuery, at: datetime, now: datetime | None = None) -> Explanation:
    """Explain the bucket of `query.grain` that holds `at` (local to `query.tz` when it has no zone).

    The question's own range is not used, and it cannot be grouped: name one member by `filters`. Raises QueryError.
    """
    if query.by:
        raise QueryError(f"by: {', '.join(query.by)}: one number is explained; name one group by a filter instead")
    if query.grain == "total":
        raise QueryError("grain: total: name minute, hour, day, week or month, whose bucket is explained")
    query = check(query)
    moment = to_utc(at, zone(query.tz))
    edges = bucket_edges(query.grain, zone(query.tz), moment, moment + timedelta(microseconds=1))
    start, end = (datetime.fromtimestamp(edge, UTC) for edge in edges[:2])
    query = replace(query, start=start, end=end)
    given = answer(client, query, now)
    plan = make_plan(query, (start, end))
    metric = find_metric(query.metric)
    offsets = _offsets(client, plan, metric)
    dataset = plan.dataset or ("connector_slices" if plan.resolution != "hour" else "engagement_hourly")
    return Explanation(
        answer=given,
        metric=metric,
        asset=dataset,
        seals=_seals(client, plan, dataset),
        offsets=offsets,
        counted=_counted(metric, plan, offsets),
        parts=_parts(client, plan),
        restatements=_restatements(client, plan, metric),
    )


def _offsets(client: Client, plan: Plan, metric: Metric) -> pl.DataFrame:
    members = [name for name in plan.member_filters if name in MEMBER_DIMENSIONS]
    sql = render("explained_rows", plan=plan, metric=metric.id, members=members)
    return query_frame(client, sql, plan.parameters).rename({"event_type": "type"})


def _counted(metric: Metric, plan: Plan, offsets: pl.DataFrame) -> tuple[int, ...] | None:
    parts = parts_of(metric, catalogue())
    counts = [part for part in parts if isinstance(part, Count) and part.column == "events"]
    if len(counts) != len(parts):
        return None
    return tuple(
        int(offsets.filter(pl.col("type").is_in(count.types) | pl.lit(not count.types))["events"].sum())
        for count in counts
    )


def _span(plan: Plan, size: int) -> Mapping[str, Any]:
    """The plan's parameters, and `first_s`: where the first bucket of `size` seconds that the range touches begins."""
    first = plan.parameters["from_s"]
    return {**plan.parameters, "first_s": first - first % size}


def _seals(client: Client, plan: Plan, dataset: str) -> pl.DataFrame:
    span = _span(plan, _DAY if plan.facts else _HOUR)
    found = query_frame(client, render("explained_seals", as_of=plan.as_of is not None), {**span, "dataset": dataset})
    named = found.rename(
        {"bucket_s": "bucket", "of_network": "network", "at": "sealed_at", "why": "cause", "run": "run_id"}
    )
    wanted = plan.filters.get("network")
    if wanted is not None:
        named = named.filter(pl.col("network").is_in(wanted))
    newest = pl.col("sealed_at") == pl.col("sealed_at").max().over("bucket", "network")
    return named.with_columns(newest.alias("current"), _instant("bucket"))


def _restatements(client: Client, plan: Plan, metric: Metric) -> pl.DataFrame:
    parts = parts_of(metric, catalogue())
    # What an hour's restatements call its two columns; those of facts carry the measure's own name.
    columns = {"events": "events", "actors": "active_actors"}
    names = [columns[part.column] for part in parts if isinstance(part, Count)] or measures_of(parts)
    given = {
        **plan.parameters,
        "dataset": plan.dataset or "engagement_hourly",
        "parts": list(dict.fromkeys(names)),
        "types": list(types_of(parts)),
        "dimension": plan.members[0] if plan.members else "all",
    }
    found = query_frame(client, render("explained_restatements", plan=plan), given)
    renamed = {"at": "restated_at", "part": "metric", "bucket_s": "bucket", "event_type": "type", "why": "cause"}
    renamed |= {
        "of_workspace": "workspace",
        "of_network": "network",
        "by_dimension": "dimension",
        "of_member": "member",
    }
    return found.rename(renamed).with_columns(_instant("bucket"))


def _parts(client: Client, plan: Plan) -> pl.DataFrame:
    sql = render("explained_parts", networks="network" in plan.filters)
    return query_frame(client, sql, _span(plan, _HOUR)).rename({"rows_of_span": "rows", "digest": "sha256"})


def _instant(name: str) -> pl.Expr:
    return pl.from_epoch(pl.col(name).cast(pl.Int64), "s").dt.replace_time_zone("UTC").alias(name)
