"""Seals against the builds they name: what is published is a build that was made, whole, and of the newest sources.

Belongs here: this comparison, for all three datasets. Does not belong here: the rows of a build (`slices`, `rollups`).

Every hour of a slice has its hour in `engagement_hourly`, unless a sealing is at work on it. A day stands only while
none of its hours is newer; one that stands aside is compared with its own rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from contracts.envelope import UTC_MS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.audit.findings import Kind, build, join_all
from serving.audit.rollups import Span
from serving.audit.stores import AuditStores

STAGED = timedelta(minutes=2)
"""Between staging and publishing a run only counts rows: a build that waits longer was staged by a run that is dead."""
RUN = timedelta(hours=1)
"""No run that seals takes longer (`dagster/max_runtime`)."""
SKEW = timedelta(minutes=1)
"""What clocks of a cluster may differ by."""

SLICES, HOURS, DAYS = "connector_slices", "engagement_hourly", "engagement_daily"
NO_BUILD = "00000000-0000-0000-0000-000000000000"

_PAIR = ["bucket", "network"]
_BETWEEN = "{column} >= toDateTime({{from_s:Int64}}, 'UTC') AND {column} < toDateTime({{to_s:Int64}}, 'UTC')"
_BUCKETS = _BETWEEN.format(column="bucket")
_SEALS = f"""
SELECT toUnixTimestamp(bucket) AS bucket, toString(network) AS network, toString(argMax(build_id, sealed_at)) AS id,
    argMax(rows, sealed_at) AS rows, argMax(events, sealed_at) AS events, argMax(checksum, sealed_at) AS checksum,
    toUnixTimestamp64Micro(max(sealed_at)) AS sealed_us
FROM seals
WHERE dataset = {{dataset:String}} AND {_BUCKETS}
GROUP BY bucket, network
"""  # noqa: S608 - made of constants
_SCOPES = f"""
SELECT toUnixTimestamp(bucket) AS bucket, toString(network) AS network, toString(build_id) AS id,
    toUnixTimestamp(source_bucket) AS source_bucket, toString(source_build_id) AS source_id,
    toUnixTimestamp64Micro(toDateTime64(min(staged_at), 6, 'UTC')) AS staged_us
FROM build_scopes
WHERE dataset = {{dataset:String}} AND {_BUCKETS}
GROUP BY bucket, network, id, source_bucket, source_id
"""  # noqa: S608 - made of constants
_HELD = """
SELECT toUnixTimestamp(bucket) AS bucket, toString(network) AS network, toString(build_id) AS id, count() AS held_rows,
    sumIf(events, dimension = 'all') AS held_events
FROM {dataset}_builds
WHERE {buckets} AND (bucket, network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))
GROUP BY bucket, network, id
"""
_HELD_SLICES = """
SELECT toUnixTimestamp(toStartOfHour(event_time)) AS bucket, toString(network) AS network, toString(build_id) AS id,
    count() AS held_rows, {checksum} AS held_checksum
FROM connector_slices_builds
WHERE {events}
    AND (toStartOfHour(event_time), network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))
GROUP BY bucket, network, id
"""
_ARCHIVED = f"""
SELECT toUnixTimestamp(event_hour) AS bucket, toString(network) AS network, sum(rows) AS archived
FROM archive_contents FINAL
WHERE retired = 0 AND {_BETWEEN.format(column="event_hour")}
GROUP BY bucket, network
"""  # noqa: S608 - made of constants

_NUMBERS = ("rows", "events", "checksum", "held_rows", "held_events", "held_checksum", "archived")
_SEAL_SCHEMA = {
    "bucket": pl.Int64(),
    "network": pl.String(),
    "id": pl.String(),
    "rows": pl.UInt64(),
    "events": pl.UInt64(),
    "checksum": pl.UInt64(),
    "sealed_us": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """Published seals of a dataset with what their builds hold, and every scope that was staged there."""

    seals: pl.DataFrame
    scopes: pl.DataFrame

    @property
    def of_published(self) -> pl.DataFrame:
        return self.scopes.join(self.seals, on=[*_PAIR, "id"], how="semi")


def compare_seals(stores: AuditStores, span: Span) -> tuple[pl.DataFrame, int]:
    """Findings about the seals of whole hours, and of days that begin in the span; and how many seals there are."""
    client, given = stores.clickhouse, span.bounds
    # A day's hours reach beyond the span.
    wide = {**given, "to_s": given["to_s"] + 86_400}
    slices = _made(client, SLICES, wide)
    hours = _made(client, HOURS, wide)
    days = _made(client, DAYS, given)
    hours = _Made(hours.seals.pipe(_with_checksums, stores, HOURS, hours.of_published, slices.seals), hours.scopes)
    days = _Made(days.seals.pipe(_with_checksums, stores, DAYS, days.of_published, hours.seals), days.scopes)
    found = [
        *(_of_build(name, made) for name, made in ((SLICES, slices), (HOURS, hours), (DAYS, days))),
        _considered(client, slices, wide),
        *_hours_of_slices(slices, hours),
        _hours_of_days(hours, days),
    ]
    mine = pl.col("bucket").dt.epoch("s").is_between(given["from_s"], given["to_s"], closed="left")
    looked = [made.seals.filter(pl.col("bucket") < given["to_s"]).height for made in (slices, hours, days)]
    return join_all(found).filter(mine), sum(looked)


def _made(client: Client, dataset: str, given: dict[str, int]) -> _Made:
    named = {**given, "dataset": dataset}
    seals = query_frame(client, _SEALS, named).select(pl.col(n).cast(t) for n, t in _SEAL_SCHEMA.items())
    published = render("published_builds", dataset=dataset, condition=_BUCKETS)
    if dataset == SLICES:
        events = _BETWEEN.format(column="event_time")
        sql = _HELD_SLICES.format(events=events, published=published, checksum=render("slice_checksum"))
    else:
        sql = _HELD.format(dataset=dataset, buckets=_BUCKETS, published=published)
    held = _numbers(query_frame(client, sql, given))
    scopes = query_frame(client, _SCOPES, named).with_columns(
        pl.col("bucket", "source_bucket", "staged_us").cast(pl.Int64)
    )
    counted = [pl.col(name).fill_null(0) for name in held.columns if name.startswith("held_")]
    return _Made(seals.join(held, on=[*_PAIR, "id"], how="left").with_columns(counted), scopes)


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col("bucket").cast(pl.Int64), *(pl.col(name).cast(pl.UInt64) for name in _NUMBERS if name in frame.columns)
    )


def _with_checksums(
    seals: pl.DataFrame, stores: AuditStores, dataset: str, scopes: pl.DataFrame, sources: pl.DataFrame
) -> pl.DataFrame:
    """Add `held_checksum`: what the seal of a build of these sources says; null where a source is not published."""
    known = scopes.join(
        sources.select(
            pl.col("bucket").alias("source_bucket"),
            "network",
            pl.col("id").alias("source_id"),
            pl.col("held_checksum").alias("source_checksum"),
        ),
        on=["source_bucket", "network", "source_id"],
        how="left",
    )
    rows = []
    for (bucket, network), mine in known.sort("source_bucket").group_by(_PAIR, maintain_order=True):
        inputs = [(_at(at), checksum) for at, checksum in mine["source_bucket", "source_checksum"].iter_rows()]
        if all(checksum is not None for _, checksum in inputs):
            rows.append((bucket, network, stores.seal_checksum(dataset, inputs)))
    schema = {"bucket": pl.Int64(), "network": pl.String(), "held_checksum": pl.UInt64()}
    return seals.join(pl.DataFrame(rows, schema=schema, orient="row"), on=_PAIR, how="left")


def _of_build(dataset: str, made: _Made) -> pl.DataFrame:
    """Seals that name no build, or say other numbers than the build holds."""
    told = made.seals.join(made.scopes.select(*_PAIR, "id", made=True).unique(), on=[*_PAIR, "id"], how="left")
    unmade = told.filter(pl.col("made").is_null())
    found = [_finding("unexpected", dataset, unmade, "build_id", pl.lit("a build that was made"), pl.col("id"))]
    known = told.filter(pl.col("made"))
    for name in ("rows", "events", "checksum"):
        if f"held_{name}" in known.columns:
            wrong = known.filter(pl.col(name) != pl.col(f"held_{name}"))
            found.append(_finding("changed", dataset, wrong, name, pl.col(f"held_{name}"), pl.col(name)))
    soon = int((datetime.now(UTC) + SKEW).timestamp() * 1_000_000)
    ahead = told.filter(pl.col("sealed_us") > soon)
    said = pl.from_epoch("sealed_us", "us").dt.strftime("%Y-%m-%d %H:%M:%S")
    found.append(_finding("changed", dataset, ahead, "sealed_at", pl.lit("a time that has passed"), said))
    return join_all(found)


def _considered(client: Client, slices: _Made, given: dict[str, int]) -> pl.DataFrame:
    """Slices that say they considered more rows than the archive has, or fewer than they hold.

    Fewer than the archive has is late data, and no finding.
    """
    archived = _numbers(query_frame(client, _ARCHIVED, given))
    told = slices.seals.join(archived, on=_PAIR, how="left").with_columns(pl.col("archived").fill_null(0))
    made = told.join(slices.scopes, on=[*_PAIR, "id"], how="semi")
    wrong = made.filter((pl.col("events") > pl.col("archived")) | (pl.col("events") < pl.col("rows")))
    return _finding("changed", SLICES, wrong, "events", pl.col("archived"), pl.col("events"))


def _hours_of_slices(slices: _Made, hours: _Made) -> Iterable[pl.DataFrame]:
    """Hours that are not made of the published slice, hours that are missing, hours without a slice."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    of_slice = slices.seals.select(*_PAIR, pl.col("id").alias("slice"), pl.col("sealed_us").alias("slice_us"))
    sources = hours.of_published.select(*_PAIR, "id", "source_id")
    staged = hours.scopes.group_by(*_PAIR, pl.col("source_id").alias("slice")).agg(pl.col("staged_us").min())
    both = (
        of_slice.join(hours.seals.select(*_PAIR, "id", "sealed_us"), on=_PAIR, how="left")
        .join(sources, on=[*_PAIR, "id"], how="left")
        .join(staged, on=[*_PAIR, "slice"], how="left")
    )
    # A sealing publishes slices first, and stages their hours then.
    dead = (pl.col("staged_us") < now - _micros(STAGED)).fill_null(value=False) | (
        pl.col("slice_us") < now - _micros(RUN)
    )
    missing = both.filter(pl.col("id").is_null() & dead)
    yield _finding("missing", HOURS, missing, "source_build_id", pl.col("slice"), pl.lit("no seal"))
    others = both.filter(
        (pl.col("source_id") != pl.col("slice")) & (dead | (pl.col("sealed_us") >= pl.col("slice_us")))
    )
    yield _finding("changed", HOURS, others, "source_build_id", pl.col("slice"), pl.col("source_id"))
    lonely = hours.seals.join(of_slice, on=_PAIR, how="anti")
    yield _finding("missing", SLICES, lonely, "build_id", pl.lit("the slice of a published hour"), pl.lit("no seal"))


def _hours_of_days(hours: _Made, days: _Made) -> pl.DataFrame:
    """Days that stand, and are not made of the published hours."""
    day = pl.col("bucket") - pl.col("bucket") % 86_400
    now = hours.seals.select(day.alias("day"), "network", source_bucket="bucket", source_id="id", hour_us="sealed_us")
    newest = now.group_by(pl.col("day").alias("bucket"), "network").agg(pl.col("hour_us").max())
    standing = days.seals.join(newest, on=_PAIR, how="left").filter(
        pl.col("hour_us").is_null() | (pl.col("sealed_us") >= pl.col("hour_us"))
    )
    keys = [*_PAIR, "source_bucket"]
    of_days = now.rename({"day": "bucket"}).join(standing, on=_PAIR, how="semi")
    published = of_days.select(*keys, pl.col("source_id").alias("hour"))
    used = days.of_published.join(standing, on=_PAIR, how="semi").filter(pl.col("source_id") != NO_BUILD)
    # A day whose build nobody made is named for that, not once more for each of its hours.
    made = published.join(days.of_published, on=_PAIR, how="semi")
    both = made.join(used.select(*keys, "source_id"), on=keys, how="full", coalesce=True)
    wrong = both.filter(pl.col("hour").ne_missing(pl.col("source_id"))).sort(keys).unique(_PAIR, keep="first")
    return _finding(
        "changed",
        DAYS,
        wrong,
        "source_build_id",
        pl.col("hour").fill_null("none"),
        pl.col("source_id").fill_null("none"),
    )


def _finding(  # noqa: PLR0917 # a finding has these
    kind: Kind, dataset: str, rows: pl.DataFrame, column: str, expected: pl.Expr, found: pl.Expr
) -> pl.DataFrame:
    named = rows.select(
        pl.from_epoch("bucket", "s").dt.replace_time_zone("UTC").cast(UTC_MS),
        "network",
        pl.lit(column).alias("columns"),
        expected.cast(pl.String).alias("expected"),
        found.cast(pl.String).alias("found"),
    )
    return build("seals", kind, dataset, named)


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
