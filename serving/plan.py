"""From a question to a plan: which rows answer it, at which resolution, by which columns.

Belongs here: checking the question against the catalogue and the rollups' shape, and the rendering of the plan as SQL.
Does not belong here: formulas (`contracts/metrics`), asking the store (`serving.query`).

Costs. Rollups (hourly; daily for whole UTC days) answer one of object, campaign or topic at a time, on whole hours.
Rows are read, from sealed slices and live events, when a zone's offset is not whole hours or edges are not on the hour
(sealed hours only; live ones have a minute rollup), when two of object, campaign and topic meet in one question, when
several topics are filtered without grouping by them (an event may carry two), and for unsealed hours with `as_of`.
Facts (`contracts.facts`) answer one of their dataset's dimensions at a time, on quarters of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from contracts.facts import BUCKET, FACT_DATASETS, FactDataset
from contracts.metric_catalogue import Metric, Ratio, catalogue, dataset_of, parts_of
from resources.clickhouse.sql import render
from serving.errors import QueryError, UnknownNameError
from serving.scope import Scope
from serving.timeline import (
    GRAINS,
    Grain,
    Resolution,
    bucket_edges,
    bucket_sql,
    days_are_utc,
    most_buckets,
    resolution,
    to_utc,
    zone,
)

Order = Literal["bucket", "value", "-value"]

COLUMN_DIMENSIONS = ("network", "type", "workspace")
MEMBER_DIMENSIONS = ("object", "campaign", "topic")
DIMENSIONS = (*COLUMN_DIMENSIONS, *MEMBER_DIMENSIONS)

MAX_BUCKETS = 1_000_000

_ORDER_SQL: dict[Order, str] = {"bucket": "", "value": "value ASC NULLS LAST, ", "-value": "value DESC NULLS LAST, "}
_DAILY_FROM = timedelta(days=2)
_DAILY_SUMS_FROM = timedelta(days=62)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2106, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """A question: one metric, by groups and buckets, over `[start, end)`.

    Times without a zone are local to `tz`; None reaches to the first or past the last event. `as_of` answers from what
    was known then. `filters` maps dimensions to accepted values; `workspace` is the tenant (None: all of them).
    Grouping by object, campaign or topic leaves out events that have none. `limit` cuts the rows after `order`.
    """

    metric: str
    by: Sequence[str] = ()
    start: datetime | None = None
    end: datetime | None = None
    grain: Grain = "hour"
    tz: str = "UTC"
    as_of: datetime | None = None
    workspace: str | None = None
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: int | None = None
    order: Order = "bucket"


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked question with its range in UTC, and how to answer it."""

    metric: Metric
    facts: FactDataset | None
    grain: Grain
    tz: str
    start: datetime
    end: datetime
    resolution: Resolution
    daily: bool
    as_of: datetime | None
    by: tuple[str, ...]
    members: tuple[str, ...]
    filters: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, Any]
    order: str
    limited: bool
    scope: Scope | None = None
    unchanged: bool = False
    """Whether nothing has changed since `as_of`, so that what is live now is what was live then."""

    @property
    def dataset(self) -> str:
        """The fact dataset that answers; '' for engagement."""
        return self.facts.name if self.facts else ""

    @property
    def settles(self) -> timedelta:
        """How long after its end a bucket can grow without anything being late."""
        return self.facts.settles if self.facts else timedelta()

    @property
    def is_ratio(self) -> bool:
        return isinstance(self.metric.measure, Ratio)

    @property
    def mean_of_ratios(self) -> bool:
        """Whether networks are pooled, so that the mean of their ratios is given beside the pooled ratio."""
        return self.is_ratio and "network" not in self.by

    @property
    def live_from_rows(self) -> bool:
        return self.as_of is not None or self.resolution == "row"

    @property
    def reads_members(self) -> bool:
        """Whether hourly rows of members answer: there are so many that their scope is worth asking for."""
        hourly = not self.facts and self.resolution == "hour" and not self.daily and self.as_of is None
        return hourly and bool(self.members)

    @property
    def column_filters(self) -> tuple[str, ...]:
        return tuple(name for name in self.filters if name in COLUMN_DIMENSIONS)

    @property
    def member_filters(self) -> tuple[str, ...]:
        return tuple(name for name in self.filters if name not in COLUMN_DIMENSIONS)

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """(dimension, column of the rows) for every group."""
        return tuple((name, name if name in COLUMN_DIMENSIONS else f"{name}_member") for name in self.by)

    @property
    def edges(self) -> list[int]:
        """Edges of the range's buckets, in seconds since 1970; none for an empty range."""
        return bucket_edges(self.grain, zone(self.tz), self.start, self.end) if self.start < self.end else []

    @property
    def bucket(self) -> str:
        return bucket_sql(self.grain, "bucket")

    @property
    def row_bucket(self) -> str:
        """The bucket that rows are put in before rollups join them: the answer's own, as an instant in UTC."""
        return f"toTimeZone({bucket_sql(self.grain, 'event_time')}, 'UTC')"

    def sql(self) -> str:
        return render("facts_query" if self.facts else "metric_query", metric=self.metric.id, plan=self)


def find_metric(name: str) -> Metric:
    metrics = catalogue()
    if name not in metrics:
        raise UnknownNameError("metric", name, metrics)
    return metrics[name]


def facts_of(metric: Metric) -> FactDataset | None:
    """The fact dataset that answers a metric; None for those of engagement."""
    return FACT_DATASETS.get(dataset_of(parts_of(metric, catalogue())[0]))


def dimensions_of(metric: Metric) -> tuple[str, ...]:
    """What a metric can be grouped and filtered by."""
    facts = facts_of(metric)
    return ("network", "workspace", *facts.dimensions) if facts else DIMENSIONS


def check(query: MetricQuery) -> MetricQuery:
    """Return the question with its names checked and its groups and filters as tuples. Raises QueryError."""
    dimensions = dimensions_of(find_metric(query.metric))
    zone(query.tz)
    if query.grain not in GRAINS:
        raise UnknownNameError("grain", query.grain, GRAINS)
    if query.order not in get_args(Order):
        raise UnknownNameError("order", query.order, get_args(Order))
    if isinstance(query.by, str):
        raise QueryError(f"by: give a list of dimensions, not the text {query.by!r}")
    for name in (*query.by, *query.filters):
        if name not in dimensions:
            raise UnknownNameError(f"dimension of {query.metric}", name, dimensions)
    for name in query.by:
        if tuple(query.by).count(name) > 1:
            raise QueryError(f"by: {name!r} is given twice")
    filters = {}
    for name, values in query.filters.items():
        if isinstance(values, str) or not values:
            raise QueryError(f"filters: {name}: give a list of at least one value, not {values!r}")
        filters[name] = tuple(dict.fromkeys(values))
    if query.workspace is not None:
        if "workspace" in filters and filters["workspace"] != (query.workspace,):
            raise QueryError(f"filters: workspace {filters['workspace']} contradicts workspace {query.workspace!r}")
        filters["workspace"] = (query.workspace,)
    if query.limit is not None and query.limit < 1:
        raise QueryError(f"limit: must be at least 1, not {query.limit}")
    return replace(query, by=tuple(query.by), filters=filters)


def make_plan(query: MetricQuery, bounds: tuple[datetime, datetime]) -> Plan:
    """Plan a checked question. `bounds` are used where the question names no start or end. Raises QueryError."""
    tz = zone(query.tz)
    start = to_utc(query.start, tz) if query.start is not None else bounds[0]
    end = to_utc(query.end, tz) if query.end is not None else bounds[1]
    if query.start is None or query.end is None:
        end = max(start, end)
        if start < end:  # what the question leaves open reaches to the edge of a bucket, which nothing then cuts
            edges = bucket_edges(query.grain, tz, start, end)
            start = start if query.start is not None else datetime.fromtimestamp(edges[0], UTC)
            end = end if query.end is not None else datetime.fromtimestamp(edges[-1], UTC)
    if not _EPOCH <= start <= end <= _LAST or (start == end and query.start is not None and query.end is not None):
        raise QueryError(f"range: start {start.isoformat()} must be before end {end.isoformat()}, within 1970 to 2106")
    buckets = most_buckets(query.grain, start, end)
    if buckets > MAX_BUCKETS:
        raise QueryError(
            f"range: about {buckets} buckets of a {query.grain}; at most {MAX_BUCKETS}, take a coarser grain"
        )
    filters = {name: tuple(values) for name, values in query.filters.items()}
    metric = find_metric(query.metric)
    facts = facts_of(metric)
    members = tuple(facts.dimensions) if facts else MEMBER_DIMENSIONS
    crossing = tuple(name for name in members if name in query.by or name in filters)
    if facts:
        _check_facts(facts, query, crossing, start, end)
    any_of_topics = len(filters.get("topic", ())) > 1 and "topic" not in query.by
    fine = resolution(query.grain, tz, start, end)
    if len(crossing) > 1 or any_of_topics:
        fine = "row"
    if any_of_topics:
        crossing = tuple(name for name in crossing if name != "topic")
    parameters: dict[str, Any] = {
        "tz": query.tz,
        "from_s": int(start.timestamp()),
        "to_s": -int(-end.timestamp() // 1),
        "from_us": _micros(start),
        "to_us": _micros(end),
        **{name: list(values) for name, values in filters.items()},
    }
    if query.limit is not None:
        parameters["limit"] = query.limit
    if query.as_of is not None:
        parameters["as_of"] = _micros(to_utc(query.as_of, tz))
    return Plan(
        metric=metric,
        facts=facts,
        grain=query.grain,
        tz=query.tz,
        start=start,
        end=end,
        resolution=fine,
        daily=not facts
        and fine == "hour"
        and _days_help(metric, end - start, crossing)
        and days_are_utc(query.grain, tz, start, end),
        as_of=to_utc(query.as_of, tz) if query.as_of is not None else None,
        by=tuple(query.by),
        members=crossing,
        filters=filters,
        parameters=parameters,
        # without groups the buckets that have no rows are filled in first: ordering and cutting come after that
        order=_ORDER_SQL[query.order] if query.by else "",
        limited=query.limit is not None and bool(query.by),
    )


def _check_facts(
    facts: FactDataset, query: MetricQuery, members: Sequence[str], start: datetime, end: datetime
) -> None:
    """Raises QueryError for what facts do not keep: two dimensions at once, and anything finer than their buckets."""
    if len(members) > 1:
        raise QueryError(f"{query.metric}: {' and '.join(members)} are kept one at a time, not together")
    if query.grain == "minute":
        raise QueryError(f"{query.metric}: grain: kept by quarters of an hour; take hour or coarser")
    for name, moment in (("start", start), ("end", end)):
        if (moment - _EPOCH) % BUCKET:
            raise QueryError(f"range: {name} {moment.isoformat()}: {facts.name} are kept by quarters of an hour")


def _days_help(metric: Metric, length: timedelta, members: Sequence[str]) -> bool:
    """Whether daily rows save more than looking for them costs (25 ms): a few hundred hours are read faster than that.

    Sets of actors and members are what makes hours large; plain sums by type have a few rows each.
    """
    return length >= (_DAILY_FROM if members or metric.additivity == "distinct" else _DAILY_SUMS_FROM)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
