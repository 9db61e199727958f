"""Published slices against the archived rows of their hour that the first filter admits.

Belongs here: this comparison. Does not belong here: the filter's rule (it is given), building slices.

A slice is what was archived when it was sealed. What came later is late and no finding; therefore a slice that misses a
row is recognised by its seal, which says how many rows were in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl

from contracts.envelope import EVENT_SCHEMA, POSITION_SCHEMA, STORED_SCHEMA, UTC_MS
from resources.archive.base import ArchiveCorruptError, ArchivePart
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.audit.findings import join_all
from serving.audit.rows import compare_rows
from serving.audit.stores import AuditStores

HOUR = timedelta(hours=1)
SLICE_SCHEMA: dict[str, pl.DataType] = {
    **{
        name: EVENT_SCHEMA[name]
        for name in (
            "workspace", "event_id", "type", "network", "actor", "object", "campaign", "topics", "properties",
            "event_time", "received_at",
        )
    },
    **POSITION_SCHEMA,
}  # fmt: skip
"""Columns that a slice has of a stored event."""

ROWS_AT_ONCE = 20_000

_SEALED = """
SELECT toUnixTimestamp(published.bucket) AS hour_s, toString(published.network) AS network,
    toString(published.build_id) AS build_id, published.rows AS rows, published.events AS events,
    toUnixTimestamp64Micro(toDateTime64(firsts.first_at, 6, 'UTC')) AS first_sealed_us
FROM ({published}) AS published
INNER JOIN
(
    SELECT bucket, network, min(sealed_at) AS first_at FROM seals WHERE dataset = 'connector_slices'
    GROUP BY bucket, network
) AS firsts ON firsts.bucket = published.bucket AND firsts.network = published.network
ORDER BY hour_s, network
"""
_ROWS = """
SELECT {columns}
FROM connector_slices_builds
WHERE event_time >= toDateTime({{from_s:Int64}}, 'UTC') AND event_time < toDateTime({{to_s:Int64}}, 'UTC')
    AND (toStartOfHour(event_time), network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))
"""
_BETWEEN = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')"


def sealed_slices(client: Client, start: datetime, end: datetime) -> pl.DataFrame:
    """Published slices of `[start, end)`: `bucket, network, build_id, rows, events, first_sealed_at`."""
    sql = _SEALED.format(published=render("published_builds", dataset="connector_slices", condition=_BETWEEN))
    found = query_frame(client, sql, _bounds(start, end))
    return found.select(
        pl.from_epoch(pl.col("hour_s").cast(pl.Int64), "s")
        .cast(pl.Datetime("ms"))
        .dt.replace_time_zone("UTC")
        .alias("bucket"),
        pl.col("network").cast(pl.String),
        pl.col("build_id").cast(pl.String),
        pl.col("rows", "events").cast(pl.Int64),
        pl.from_epoch("first_sealed_us", "us").dt.replace_time_zone("UTC").alias("first_sealed_at"),
    )


def slice_looks(
    stores: AuditStores, start: datetime, end: datetime
) -> Iterator[Callable[[], tuple[pl.DataFrame, int]]]:
    """Yield comparisons (`slice_look`) of some consecutive published hours of `[start, end)` each."""
    for hours in _batches(sealed_slices(stores.clickhouse, start, end)):
        first, last = hours["bucket"].min(), hours["bucket"].max()
        if isinstance(first, datetime) and isinstance(last, datetime):
            yield partial(slice_look, stores, first, last + HOUR)


def slice_look(stores: AuditStores, start: datetime, end: datetime) -> tuple[pl.DataFrame, int]:
    """Compare the published hours of `[start, end)`: findings, and rows compared.

    Hours with rows in a damaged part are left out: nothing proves them until the part is repaired.
    """
    sealed = sealed_slices(stores.clickhouse, start, end)
    parts = [part for part in stores.archive.inspect()[0] if any(start <= hour < end for hour, _ in part.contents)]
    broken = {part.path for part in parts if not _whole(stores, part)}
    unproven = {pair for part in parts if part.path in broken for pair in part.contents}
    schema = {name: sealed.schema[name] for name in ("bucket", "network")}
    left_out = pl.DataFrame(sorted(unproven), schema=schema, orient="row")
    sealed = sealed.join(left_out, on=["bucket", "network"], how="anti")
    if sealed.is_empty():
        return join_all([]), 0
    archived = stores.archive.read([part for part in parts if part.path not in broken], (start, end))
    rows = archived.select(name for name in STORED_SCHEMA if name != "raw").collect()
    return _compare(stores, rows, sealed, (start, end))


def _whole(stores: AuditStores, part: ArchivePart) -> bool:
    try:
        stores.archive.verify(part)
    except ArchiveCorruptError:
        return False
    return True


def _batches(sealed: pl.DataFrame) -> Iterator[pl.DataFrame]:
    per_hour = sealed.group_by("bucket").agg(pl.col("rows").sum()).sort("bucket")
    share = (per_hour["rows"].cum_sum() - per_hour["rows"]) // ROWS_AT_ONCE
    for _, hours in per_hour.with_columns(share.alias("share")).group_by("share", maintain_order=True):
        yield sealed.join(hours.select("bucket"), on="bucket", how="semi")


def _compare(
    stores: AuditStores, archived: pl.DataFrame, sealed: pl.DataFrame, span: tuple[datetime, datetime]
) -> tuple[pl.DataFrame, int]:
    admitted = stores.admit(archived, sealed.select("bucket", "network", "first_sealed_at"))
    expected = _in_sealed(admitted, sealed).select("bucket", *SLICE_SCHEMA)
    held = _in_sealed(_slice_rows(stores.clickhouse, *span), sealed)
    lost = _lost(expected, held, sealed)
    at_rest = expected.join(held, on=list(POSITION_SCHEMA), how="semi")
    found = compare_rows("slices", "connector_slices", pl.concat([at_rest, lost]), held, list(SLICE_SCHEMA))
    return found, held.height


def _in_sealed(rows: pl.DataFrame, sealed: pl.DataFrame) -> pl.DataFrame:
    hour = pl.col("event_time").dt.truncate("1h").cast(UTC_MS).alias("bucket")
    return rows.with_columns(hour).join(sealed.select("bucket", "network"), on=["bucket", "network"], how="semi")


def _slice_rows(client: Client, start: datetime, end: datetime) -> pl.DataFrame:
    special = {"event_id": "toString(event_id)", "topics": "arrayMap(t -> toString(t), topics)"}
    columns = ", ".join(f"{special.get(name, name)} AS c{number}" for number, name in enumerate(SLICE_SCHEMA))
    published = render("published_builds", dataset="connector_slices", condition=_BETWEEN)
    found = query_frame(client, _ROWS.format(columns=columns, published=published), _bounds(start, end))
    return found.select(pl.col(f"c{n}").cast(dtype).alias(name) for n, (name, dtype) in enumerate(SLICE_SCHEMA.items()))


def _counts(held: pl.DataFrame, sealed: pl.DataFrame) -> pl.DataFrame:
    there = held.unique(list(POSITION_SCHEMA)).group_by("bucket", "network").agg(pl.len().cast(pl.Int64).alias("there"))
    return sealed.join(there, on=["bucket", "network"], how="left").with_columns(pl.col("there").fill_null(0))


def _lost(expected: pl.DataFrame, held: pl.DataFrame, sealed: pl.DataFrame) -> pl.DataFrame:
    """Admitted rows that the slice had and has no more: as many as its seal counts beyond those that are there.

    Of the rows that are not in it, those received first were in it; the others came after it was sealed.
    """
    known = pl.concat([held.select(list(POSITION_SCHEMA)), expected.clear().select(list(POSITION_SCHEMA))])
    outside = expected.join(known, on=list(POSITION_SCHEMA), how="anti")
    foreign = held.join(expected, on=list(POSITION_SCHEMA), how="anti").group_by("bucket", "network").len("foreign")
    short = (
        _counts(held, sealed)
        .join(foreign, on=["bucket", "network"], how="left")
        .with_columns(short=pl.col("rows") - pl.col("there") + pl.col("foreign").fill_null(0))
        .filter(pl.col("short") > 0)
        .select("bucket", "network", "short")
    )
    return (
        outside.sort("received_at", *POSITION_SCHEMA)
        .join(short, on=["bucket", "network"], how="inner", maintain_order="left")
        .filter(pl.int_range(pl.len()).over("bucket", "network") < pl.col("short"))
        .select(expected.columns)
    )


def _bounds(start: datetime, end: datetime) -> dict[str, int]:
    floor = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
    return {"from_s": max(int(start.timestamp()), floor), "to_s": int(end.timestamp())}
