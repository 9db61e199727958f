"""Build slices: read the archive by event hour and network, filter, stage, publish.

Belongs here: the order of the steps and what a failing source means. Does not belong here: the rule of the filter, the
reading of files.

A source is one network's rows of some consecutive hours, cut so that it has at most `MOST_ROWS` rows. Fifteen thousand
sparse hours are therefore a few sources and a few statements, and one full hour of a busy network is several sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import polars as pl

from assets.archive_index import contents
from assets.connector_slices.filtering import judge
from assets.connector_slices.sources import Source, load_all
from assets.partitions import HOUR, SCOPE_SCHEMA
from assets.positions import overlaps
from assets.publishing.seals import NO_BUILD, Build, conform, newest_seals
from assets.publishing.staging import (
    STATS_SCHEMA,
    BuildReport,
    compare,
    publish_build,
    stage_scope,
)
from contracts.envelope import STORED_SCHEMA
from resources.archive.base import Archive, ArchiveCorruptError, ArchivePart
from resources.clickhouse import Client, insert_frame, query_frame
from resources.clickhouse.sql import render
from resources.crashpoints import crashpoint

MOST_ROWS = 500_000
BATCH_ROWS = 100_000
SOURCE_TIMEOUT = 120.0
"""Seconds that one source may take. Half a million rows take about two seconds from a local disk."""

SLICE_COLUMNS = (
    "workspace", "event_id", "type", "network", "actor", "object", "campaign", "topics", "properties",
    "event_time", "received_at", "log_topic", "log_partition", "log_offset",
)  # fmt: skip

_STATS = """
SELECT
    toStartOfHour(event_time) AS bucket,
    network,
    count() AS rows,
    {checksum} AS checksum
FROM connector_slices_builds
WHERE (network, toStartOfHour(event_time), build_id) IN
    (SELECT network, bucket, {which} FROM build_scopes WHERE build_id = toUUID({{build_id:String}}))
GROUP BY bucket, network
"""

_ROWS = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "checksum": pl.UInt64()}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One source's share: which (hour, network) pairs, from which parts, and how many rows the index promises."""

    name: str
    network: str
    pairs: pl.DataFrame
    paths: tuple[str, ...]
    ingest_hours: tuple[datetime, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Staged:
    """What a source brought: rows that entered the build, and frames of `network, reason` for those that did not."""

    admitted: int
    left_out: list[pl.DataFrame]


def build_slices(
    clickhouse: Client,
    archive: Archive,
    scope: pl.DataFrame,
    *,
    cause: str,
    run_id: str,
    timeout: float = SOURCE_TIMEOUT,
    workers: int = 4,
    force: bool = False,
) -> BuildReport:
    """Rebuild the slices of the scope (SCOPE_SCHEMA: event hour, network) from the archive and publish what differs.

    `force` publishes them even where the checksum of the seal is the same: it does not cover every column.

    Pairs without archived rows get an empty slice. Pairs of a source that failed or hung are in `failed` and keep the
    build they had. `events` of a seal is the number of archived rows that were considered, `rows` those in the slice.
    """
    build = Build("connector_slices", cause, run_id)
    scope = scope.unique(maintain_order=True)
    newest = newest_seals(clickhouse, "connector_slices", scope)
    held = contents(clickhouse, scope)
    previous = scope.join(newest.select("bucket", "network", "build_id"), on=["bucket", "network"], how="left")
    stage_scope(
        clickhouse,
        build,
        previous.select(
            "bucket",
            "network",
            pl.col("build_id").fill_null(NO_BUILD).alias("previous_build_id"),
            pl.col("bucket").alias("source_bucket"),
            pl.lit(NO_BUILD).alias("source_build_id"),
        ),
    )
    parts = _parts(archive, held)
    chunks = {chunk.name: chunk for chunk in chunks_of(held)}
    stager = Stager(clickhouse, archive, build, parts, newest)
    sources = [Source(name, partial(stager.stage, chunk)) for name, chunk in chunks.items()]
    failed: dict[tuple[object, str], str] = {}
    left_out: list[pl.DataFrame] = []
    report = []
    for outcome in load_all(sources, timeout, workers):
        chunk, rows = chunks[outcome.source.name], 0
        if outcome.value is None:
            failed |= dict.fromkeys(chunk.pairs.iter_rows(), f"{chunk.name}: {outcome.error}")
        else:
            rows = outcome.value.admitted
            left_out += outcome.value.left_out
        report.append(
            (chunk.name, chunk.pairs.height, len(chunk.paths), chunk.rows, rows, outcome.seconds, outcome.error)
        )
    staged_stats = _stats(clickhouse, build, scope, held)
    done = staged_stats.join(_pairs(failed), on=["bucket", "network"], how="anti")
    intact = newest.clear() if force else _intact(clickhouse, build, newest)
    changed, unchanged = compare(newest, done, intact)
    publish_build(clickhouse, build, changed)
    return BuildReport(
        build,
        published=changed,
        unchanged=unchanged,
        failed=failed,
        details={"sources": pl.DataFrame(report, schema=_SOURCES, orient="row"), "left_out": _count_reasons(left_out)},
    )


_SOURCES = {
    "source": pl.String(),
    "pairs": pl.Int64(),
    "parts": pl.Int64(),
    "archived_rows": pl.Int64(),
    "slice_rows": pl.Int64(),
    "seconds": pl.Float64(),
    "error": pl.String(),
}


def chunks_of(held: pl.DataFrame, most_rows: int = MOST_ROWS) -> Iterator[Chunk]:
    """Cut what the index holds (CONTENTS_SCHEMA) into sources of consecutive hours of one network."""
    for (network,), of_network in held.sort("bucket").group_by("network", maintain_order=True):
        per_hour = of_network.group_by("bucket", maintain_order=True).agg(pl.col("rows").sum())
        share = (per_hour["rows"].cum_sum() - per_hour["rows"]) // most_rows
        for (number,), hours in per_hour.with_columns(share.alias("chunk")).group_by("chunk", maintain_order=True):
            mine = of_network.join(hours.select("bucket"), on="bucket", how="semi")
            yield Chunk(
                name=f"{network} {hours['bucket'][0]:%Y-%m-%d %H}h" + (f" #{number}" if number else ""),
                network=str(network),
                pairs=mine.select("bucket", "network").unique(maintain_order=True),
                paths=tuple(sorted(mine["path"].unique())),
                ingest_hours=tuple(sorted(mine["ingest_hour"].unique())),
                rows=int(hours["rows"].sum()),
            )


def _parts(archive: Archive, held: pl.DataFrame) -> dict[str, ArchivePart]:
    return {part.path: part for hour in sorted(held["ingest_hour"].unique()) for part in archive.parts(hour)}


@dataclass(frozen=True, slots=True)
class Stager:
    """Brings chunks from the archive into a build."""

    clickhouse: Client
    archive: Archive
    build: Build
    parts: Mapping[str, ArchivePart]
    newest: pl.DataFrame

    def stage(self, chunk: Chunk) -> Staged:
        """Read, filter and insert one chunk, a bounded number of rows at a time.

        Raises ArchiveCorruptError when its parts are gone or hold fewer rows than the index promises.
        """
        gone = [path for path in chunk.paths if path not in self.parts]
        if gone:
            raise ArchiveCorruptError(f"{len(gone)} parts have no manifest any more, the first is {gone[0]}")
        parts = [self.parts[path] for path in chunk.paths]
        read, admitted = 0, 0
        left_out = []
        for number, rows in enumerate(read_chunk(self.archive, chunk, parts)):
            judged = judge(rows, self.newest)
            good = judged.filter(pl.col("left_out") == "")
            read, admitted = read + rows.height, admitted + good.height
            reasons = judged.filter(pl.col("left_out") != "").select("network", pl.col("left_out").alias("reason"))
            left_out.append(reasons)
            staged = good.select(pl.lit(self.build.id).alias("build_id"), *SLICE_COLUMNS)
            token = f"{self.build.id}/{chunk.name}/{number}"
            insert_frame(self.clickhouse, "connector_slices_builds", staged, token=token)
            crashpoint("slices.chunk_staged")
        if read < chunk.rows and not overlaps([where for part in parts for where in part.ranges]):
            raise ArchiveCorruptError(
                f"{len(parts)} parts hold {read:,} rows of {chunk.network} in these hours, the index says "
                f"{chunk.rows:,}; the first part is {chunk.paths[0]}"
            )
        return Staged(admitted, left_out)


def read_chunk(archive: Archive, chunk: Chunk, parts: Sequence[ArchivePart]) -> Iterator[pl.DataFrame]:
    """Yield a chunk's rows (STORED_SCHEMA without `raw`) in frames of bounded size, each log position once."""
    hours = chunk.pairs["bucket"].to_list()
    wanted = (
        archive.read(parts, (min(hours), max(hours) + HOUR), chunk.network)
        .select(name for name in STORED_SCHEMA if name != "raw")
        .with_columns(pl.col("event_time").dt.truncate("1h").alias("_hour"))
        .join(chunk.pairs.lazy().select(pl.col("bucket").alias("_hour")), on="_hour", how="semi")
        .drop("_hour")
    )
    yield from wanted.collect_batches(chunk_size=BATCH_ROWS)


def _statistics(which: str) -> str:
    return _STATS.format(which=which, checksum=render("slice_checksum"))


def _stats(clickhouse: Client, build: Build, scope: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """What the build holds per pair (STATS_SCHEMA), pairs without a row included."""
    rows = conform(query_frame(clickhouse, _statistics("build_id"), {"build_id": build.id}), _ROWS)
    events = held.group_by("bucket", "network").agg(pl.col("rows").sum().alias("events"))
    return (
        scope.join(rows, on=["bucket", "network"], how="left", maintain_order="left")
        .join(events, on=["bucket", "network"], how="left", maintain_order="left")
        .select(
            name if name in SCOPE_SCHEMA else pl.col(name).fill_null(0).cast(dtype)
            for name, dtype in STATS_SCHEMA.items()
        )
    )


def _intact(clickhouse: Client, build: Build, newest: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose published slice still holds what its seal says."""
    if newest.is_empty():
        return pl.DataFrame(schema=SCOPE_SCHEMA)
    actual = conform(query_frame(clickhouse, _statistics("previous_build_id"), {"build_id": build.id}), _ROWS).rename(
        {"rows": "actual_rows", "checksum": "actual_checksum"}
    )
    return (
        newest.join(actual, on=["bucket", "network"], how="left")
        .filter(
            (pl.col("actual_rows").fill_null(0) == pl.col("rows"))
            & (pl.col("actual_checksum").fill_null(0) == pl.col("checksum"))
        )
        .select(list(SCOPE_SCHEMA))
    )


def _pairs(failed: Mapping[tuple[object, str], str]) -> pl.DataFrame:
    return pl.DataFrame(list(failed), schema=SCOPE_SCHEMA, orient="row")


def _count_reasons(left_out: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """How many rows were left out, by `network` and `reason`."""
    frames = [frame for frame in left_out if not frame.is_empty()]
    if not frames:
        return pl.DataFrame(schema={"network": pl.String(), "reason": pl.String(), "rows": pl.UInt32()})
    return pl.concat(frames).group_by("network", "reason").agg(pl.len().alias("rows")).sort("network", "reason")
