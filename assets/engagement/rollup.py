"""Build a rollup from published builds of a finer dataset: stage, compare, restate, publish.

Belongs here: the steps that hours and days share. Does not belong here: which sources a bucket has.

A seal's checksum is a hash over the checksums of what went in and over the SQL that made it, down to the rows of the
slices. Whether a bucket must be built again is therefore one comparison, and two equal seals prove equal inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assets.engagement.statements import seal_checksum
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.restate import restate
from assets.publishing.seals import NO_BUILD, Build, Dataset, bounds, conform, newest_seals
from assets.publishing.staging import (
    STATS_SCHEMA,
    BuildReport,
    compare,
    publish_build,
    stage_scope,
)
from resources.clickhouse import Client, query_frame
from resources.crashpoints import crashpoint

SOURCES_SCHEMA = {
    **SCOPE_SCHEMA,
    "source_bucket": pl.Datetime("ms", "UTC"),
    "source_build_id": pl.String(),
    "source_events": pl.UInt64(),
    "source_checksum": pl.UInt64(),
    "source_sealed_at": pl.Datetime("us", "UTC"),
}
"""What a bucket is made of: one row per published build that goes into it."""

_STATS = """
SELECT bucket, network, count() AS rows, sumIf(events, dimension = 'all') AS events
FROM {table}
WHERE bucket >= toDateTime({{from_s:Int64}}, 'UTC') AND bucket <= toDateTime({{to_s:Int64}}, 'UTC')
    AND (network, bucket, build_id) IN
        (SELECT network, bucket, {which} FROM build_scopes WHERE build_id = toUUID({{build_id:String}}))
GROUP BY bucket, network
"""
_STAGED, _PUBLISHED = "build_id", "previous_build_id"
_NUMBERS = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "events": pl.UInt64()}


@dataclass(frozen=True, slots=True)
class Rollup:
    """A rollup dataset. `insert` fills `<dataset>_builds` for `{build_id:String}` from what its scope names."""

    dataset: Dataset
    insert: str


def build_rollup(
    clickhouse: Client,
    rollup: Rollup,
    sources: pl.DataFrame,
    scope: pl.DataFrame,
    *,
    cause: str,
    run_id: str,
    force: bool = False,
) -> BuildReport:
    """Build every pair of the scope (SCOPE_SCHEMA) from its sources (SOURCES_SCHEMA) and publish what differs.

    A pair without sources becomes an empty bucket. A pair whose rollup does not count every event of its sources stays
    in `failed` and keeps its build. `force` publishes what does not differ in numbers, too.
    """
    build = Build(rollup.dataset, cause, run_id)
    scope = scope.unique(maintain_order=True)
    if scope.is_empty():
        return BuildReport(build)
    newest = newest_seals(clickhouse, build.dataset, scope)
    expected = scope.join(_expected(sources, rollup), on=["bucket", "network"], how="left", maintain_order="left")
    expected = expected.with_columns(pl.col("source_events", "checksum").fill_null(0))
    stage_scope(clickhouse, build, _staged_rows(scope, sources, newest))
    span = bounds(scope)
    clickhouse.command(
        rollup.insert,
        parameters={"build_id": build.id, **_source_bounds(sources, span)},
        settings={"max_partitions_per_insert_block": 0},  # a build may span decades of months
    )
    crashpoint("rollup.staged")
    staged = _numbers(clickhouse, build, _STAGED, span)
    stats = expected.join(staged, on=["bucket", "network"], how="left", maintain_order="left").with_columns(
        pl.col("rows", "events").fill_null(0)
    )
    wrong = stats.filter(pl.col("events") != pl.col("source_events"))
    failed: dict[tuple[object, str], str] = {
        (row["bucket"], row["network"]): f"the rollup counts {row['events']:,} of {row['source_events']:,} events"
        for row in wrong.to_dicts()
    }
    right = stats.filter(pl.col("events") == pl.col("source_events"))
    restated = restate(clickhouse, build, scope)
    if restated.height:
        crashpoint("restatements.written")
    intact = _newer(_intact(newest, restated, _numbers(clickhouse, build, _PUBLISHED, span)), newest, expected)
    changed, unchanged = compare(newest, right.select(list(STATS_SCHEMA)), intact.clear() if force else intact)
    publish_build(clickhouse, build, changed)
    return BuildReport(
        build,
        published=changed,
        unchanged=unchanged,
        restatements=int(restated["rows"].sum()),
        failed=failed,
        details={"restated": restated},
    )


def _expected(sources: pl.DataFrame, rollup: Rollup) -> pl.DataFrame:
    """Per pair: `source_events`, `checksum` that its seal will have, and `sources_sealed_at`."""
    rows = []
    for (bucket, network), mine in sources.sort("source_bucket").group_by("bucket", "network", maintain_order=True):
        inputs = list(mine["source_bucket", "source_checksum"].iter_rows())
        rows.append(
            (
                bucket,
                network,
                int(mine["source_events"].sum()),
                seal_checksum(rollup.dataset, inputs),
                mine["source_sealed_at"].max(),
            )
        )
    schema = {
        **SCOPE_SCHEMA,
        "source_events": pl.UInt64(),
        "checksum": pl.UInt64(),
        "sources_sealed_at": pl.Datetime("us", "UTC"),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _staged_rows(scope: pl.DataFrame, sources: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    return (
        scope.join(sources, on=["bucket", "network"], how="left")
        .join(newest.select("bucket", "network", "build_id"), on=["bucket", "network"], how="left")
        .select(
            "bucket",
            "network",
            pl.col("build_id").fill_null(NO_BUILD).alias("previous_build_id"),
            pl.col("source_bucket").fill_null(pl.col("bucket")),
            pl.col("source_build_id").fill_null(NO_BUILD),
        )
    )


def _source_bounds(sources: pl.DataFrame, span: dict[str, int]) -> dict[str, int]:
    if sources.is_empty():
        return span
    return bounds(sources.select(pl.col("source_bucket").alias("bucket")))


def _numbers(clickhouse: Client, build: Build, which: str, span: dict[str, int]) -> pl.DataFrame:
    sql = _STATS.format(table=f"{build.dataset}_builds", which=which)
    return conform(query_frame(clickhouse, sql, {"build_id": build.id, **span}), _NUMBERS)


def _intact(newest: pl.DataFrame, restated: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose published build holds what its seal says (`numbers`: what it holds) and equals the staged one."""
    actual = numbers.rename({"rows": "actual_rows", "events": "actual_events"})
    return (
        newest.join(actual, on=["bucket", "network"], how="left")
        .join(restated.select("bucket", "network"), on=["bucket", "network"], how="anti")
        .filter(
            (pl.col("actual_rows").fill_null(0) == pl.col("rows"))
            & (pl.col("actual_events").fill_null(0) == pl.col("events"))
        )
        .select(list(SCOPE_SCHEMA))
    )


def _newer(pairs: pl.DataFrame, newest: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    """Those of the pairs that were published after all their sources.

    A bucket is published again with its sources even if no number changed: readers let a day stand only while none of
    its hours was published after it, and one comparison of times says what is stale.
    """
    return (
        pairs.join(newest, on=["bucket", "network"])
        .join(expected, on=["bucket", "network"])
        .filter(pl.col("sources_sealed_at").is_null() | (pl.col("sources_sealed_at") <= pl.col("sealed_at")))
        .select(list(SCOPE_SCHEMA))
    )
