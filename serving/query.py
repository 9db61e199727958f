"""Answers to metric questions: `answer(client, MetricQuery(…))`.

Belongs here: asking the store, filling empty buckets, saying which buckets are complete. Does not belong here: what is
asked and how it is read (`serving.plan`), formulas (`contracts/metrics`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson
import polars as pl

from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.errors import QueryError, UnknownNameError
from serving.plan import DIMENSIONS, MetricQuery, Plan, check, make_plan
from serving.progress import Progress, read_progress
from serving.scope import read_scope
from serving.timeline import GRAINS

__all__ = ["DIMENSIONS", "GRAINS", "MetricAnswer", "MetricQuery", "QueryError", "UnknownNameError", "answer"]


_EDGES = {"bucket_start": pl.Int64(), "bucket_stop": pl.Int64()}


@dataclass(frozen=True, slots=True)
class MetricAnswer:
    """An answer and how far it can be trusted.

    `frame`: `bucket` and `bucket_end` (instants in the question's zone, `[bucket, bucket_end)`), one column per group,
    `value` (null by the metric's null rule), for ratios `numerator` and `denominator`, and, when networks are pooled,
    `networks` and `mean_of_networks` (the mean of each network's own ratio, where it has one); `complete` is false for
    a bucket that can still grow or that the range cuts. Without groups every bucket of the range has a row.
    `as_of`: the newest change the answer rests on. Asking again with it gives the same values.
    `complete_through`: end of the last complete bucket, or the instant up to which a total is complete; None if none.
    `data_version`: changes whenever the stored rows or the seals do; `sequence` then grows.
    """

    query: MetricQuery
    frame: pl.DataFrame
    as_of: datetime
    complete_through: datetime | None
    sql: str
    data_version: str
    start: datetime
    end: datetime
    sequence: int

    def body(self) -> bytes:
        """The answer as JSON, byte for byte the same for the same question and data; instants are ISO 8601."""
        rows = self.frame.with_columns(pl.col("bucket", "bucket_end").dt.strftime("%Y-%m-%dT%H:%M:%S%:z")).to_dicts()
        document = {
            "metric": self.query.metric,
            "by": list(self.query.by),
            "grain": self.query.grain,
            "tz": self.query.tz,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "as_of": self.as_of.isoformat(),
            "complete_through": self.complete_through.isoformat() if self.complete_through else None,
            "data_version": self.data_version,
            "rows": rows,
        }
        return orjson.dumps(document)

    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body()).hexdigest()[:32]}"'


def answer(client: Client, query: MetricQuery, now: datetime | None = None) -> MetricAnswer:
    """Answer a question from ClickHouse. `now` is the clock of the idle rule (default: the wall clock).

    Raises UnknownNameError and QueryError for a question that has no answer.
    """
    clock = now or datetime.now(UTC)
    query = check(query)
    if query.as_of is not None and query.as_of.tzinfo is None:
        raise QueryError(f"as_of: {query.as_of.isoformat()} has no time zone")
    if query.as_of is not None and query.as_of > clock:
        raise QueryError(f"as_of: {query.as_of.isoformat()} is in the future; the answer could still change")
    # Read before the values: no bucket is called complete too early.
    progress = read_progress(client, clock, query.as_of)
    plan = _narrow(client, make_plan(query, _bounds(progress, clock)))
    if plan.dataset == "sessions" and plan.as_of is not None:
        plan = _as_of_sessions(client, plan, plan.as_of, read_progress(client, clock, None))
    sql = plan.sql()
    values = query_frame(client, sql, plan.parameters)
    grid = _grid(plan)
    frame, complete_through = _mark(plan, values, grid, progress)
    return MetricAnswer(
        query=query,
        frame=_shape(frame, plan, query),
        as_of=query.as_of or progress.changed_at or clock,
        complete_through=complete_through,
        sql=sql,
        data_version=progress.version,
        start=plan.start,
        end=plan.end,
        sequence=progress.sequence,
    )


def _as_of_sessions(client: Client, plan: Plan, as_of: datetime, latest: Progress) -> Plan:
    """The plan, where it can be answered as of its instant: live sessions as they were earlier are not kept.

    Raises QueryError where a part of the range was not sealed then, and something has changed since.
    """
    if latest.changed_at is None or latest.changed_at <= as_of:
        return replace(plan, unchanged=True)
    open_then = query_frame(client, render("sessions_not_sealed", plan=plan), plan.parameters)
    if open_then.is_empty():
        return plan
    day = datetime.fromtimestamp(open_then["day_s"].item(), UTC)
    network = open_then["of_network"].item()
    raise QueryError(
        f"as_of: sessions of {network} on {day:%Y-%m-%d} were not sealed at {as_of.isoformat()}, "
        "and what live ones were then is not kept; ask without as_of, or for days that were sealed"
    )


def _narrow(client: Client, plan: Plan) -> Plan:
    """The plan with its scope, where knowing it saves more than asking costs."""
    if not plan.reads_members:
        return plan
    scope = read_scope(client, plan.parameters, plan.column_filters)
    return replace(plan, scope=scope, parameters={**plan.parameters, **scope.parameters})


def _bounds(progress: Progress, clock: datetime) -> tuple[datetime, datetime]:
    """Return whole hours around all events; without events, an empty range at the current hour."""
    first, last = progress.first or clock, progress.last
    start = first.replace(minute=0, second=0, microsecond=0)
    if last is None:
        return start, start
    return start, last.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _grid(plan: Plan) -> pl.DataFrame:
    """Return every bucket of the range: `bucket_start`, `bucket_stop` in seconds since 1970."""
    edges = plan.edges
    return pl.DataFrame({"bucket_start": edges[:-1], "bucket_stop": edges[1:]}, schema_overrides=_EDGES)


def _mark(
    plan: Plan, values: pl.DataFrame, grid: pl.DataFrame, progress: Progress
) -> tuple[pl.DataFrame, datetime | None]:
    """Join values and buckets, and mark the buckets that are whole and can no longer grow."""
    complete_until = progress.complete_until - plan.settles if progress.complete_until else None
    settled = complete_until.timestamp() if complete_until else float("-inf")
    start, end = plan.start.timestamp(), plan.end.timestamp()
    closed = pl.col("bucket_stop") <= settled
    whole = (pl.col("bucket_start") >= start) & (pl.col("bucket_stop") <= end)
    # The range cuts no total: it is the total.
    grid = grid.with_columns(complete=closed if plan.grain == "total" else closed & whole)
    if plan.by:
        frame = values.join(grid, on="bucket_start", how="left", maintain_order="left")
    else:
        frame = grid.join(values, on="bucket_start", how="left", maintain_order="left")
    through = grid.filter(closed).get_column("bucket_stop").max()
    if plan.grain == "total" and complete_until and not grid.is_empty():
        return frame, min(complete_until, plan.end) if complete_until > plan.start else None
    return frame, datetime.fromtimestamp(through, UTC) if isinstance(through, int) else None


def _shape(frame: pl.DataFrame, plan: Plan, query: MetricQuery) -> pl.DataFrame:
    """Name and type the columns, write the zeros of empty buckets, and order rows that the store could not."""
    renamed = {f"{name}_group": name for name in plan.by} | {
        f"{name}_of_all": name for name in ("numerator", "denominator")
    }
    frame = frame.rename(renamed, strict=False).with_columns(
        pl.from_epoch(pl.col(column), "s").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(query.tz).alias(name)
        for column, name in (("bucket_start", "bucket"), ("bucket_stop", "bucket_end"))
    )
    if plan.grain == "total":  # its edges are the question's own, which may lie inside a second
        edges = {"bucket": plan.start, "bucket_end": plan.end}
        frame = frame.with_columns(pl.lit(at).cast(frame.schema[name]).alias(name) for name, at in edges.items())
    columns = ["bucket", "bucket_end", *plan.by, "value"]
    if plan.is_ratio:
        columns += ["numerator", "denominator"]
        zeros = ["numerator", "denominator"]
    else:
        zeros = ["value"]
    if plan.mean_of_ratios:
        columns += ["networks", "mean_of_networks"]
        zeros += ["networks"]
    frame = frame.select(*columns, "complete").with_columns(pl.col(zeros).fill_null(0))
    if not plan.by:
        if query.order != "bucket":
            frame = frame.sort("value", "bucket", descending=[query.order == "-value", False], nulls_last=True)
        frame = frame.head(query.limit) if query.limit is not None else frame
    return frame
