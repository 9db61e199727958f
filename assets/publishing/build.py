"""Build a dataset from published builds of a finer one: stage, compare, restate, publish.

Belongs here: the steps that every dataset made of builds shares. Does not belong here: which sources a bucket has, how
its rows are made (a `Recipe`).

A seal's checksum is a hash over the checksums of what went in and over what names the way it was made, down to the rows
of the slices. Whether a bucket must be built again is therefore one comparison, and two equal seals prove equal inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.restate import Changes, restate
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

_STAGED, _PUBLISHED = "build_id", "previous_build_id"
_NUMBERS = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "events": pl.UInt64()}


Checksum = Callable[[Sequence[tuple[datetime, int]]], int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a dataset is made from sources.

    `fill(clickhouse, build, scope, sources)` writes the rows of the build, whose scope and sources (SCOPE_SCHEMA,
    SOURCES_SCHEMA) are in `build_scopes`; it may be repeated under another build id at any time.
    `checksum` is of a bucket's sources: buckets and checksums in order of time; it must change with the way of making.
    `numbers`: SQL of `bucket, network, rows, events` that a build holds; `{which}` is the column of `build_scopes` that
    names it, `from_s` and `to_s` its first and last bucket.
    `counts_all`: every event of the sources must be counted.
    """

    dataset: Dataset
    fill: Callable[[Client, Build, pl.DataFrame, pl.DataFrame], None]
    checksum: Checksum
    numbers: str
    changes: Changes
    counts_all: bool


def build_from_sources(
    clickhouse: Client,
    recipe: Recipe,
    sources: pl.DataFrame,
    scope: pl.DataFrame,
    *,
    cause: str,
    run_id: str,
    force: bool = False,
) -> BuildReport:
    """Build every pair of the scope (SCOPE_SCHEMA) from its sources (SOURCES_SCHEMA) and publish what differs.

    A pair without sources becomes an empty bucket. A pair whose build does not count every event of its sources, where
    the recipe says it must, stays in `failed` and keeps its build. `force` publishes what does not differ, too.
    """
    build = Build(recipe.dataset, cause, run_id)
    scope = scope.unique(maintain_order=True)
    if scope.is_empty():
        return BuildReport(build)
    newest = newest_seals(clickhouse, build.dataset, scope)
    expected = scope.join(_expected(sources, recipe), on=["bucket", "network"], how="left", maintain_order="left")
    expected = expected.with_columns(pl.col("source_events", "checksum").fill_null(0))
    stage_scope(clickhouse, build, _staged_rows(scope, sources, newest))
    span = bounds(scope)
    recipe.fill(clickhouse, build, scope, sources)
    crashpoint("rollup.staged")
    staged = _numbers(clickhouse, recipe, build, _STAGED, span)
    stats = expected.join(staged, on=["bucket", "network"], how="left", maintain_order="left").with_columns(
        pl.col("rows", "events").fill_null(0)
    )
    counted = (pl.col("events") == pl.col("source_events")) | (not recipe.counts_all)
    wrong = stats.filter(~counted)
    failed: dict[tuple[object, str], str] = {
        (row["bucket"], row["network"]): f"the build counts {row['events']:,} of {row['source_events']:,} events"
        for row in wrong.to_dicts()
    }
    right = stats.filter(counted)
    restated = restate(clickhouse, build, scope, recipe.changes)
    if restated.height:
        crashpoint("restatements.written")
    intact = _newer(_intact(newest, restated, _numbers(clickhouse, recipe, build, _PUBLISHED, span)), newest, expected)
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


def _expected(sources: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """Per pair: `source_events`, `checksum` that its seal will have, and `sources_sealed_at`."""
    rows = []
    for (bucket, network), mine in sources.sort("source_bucket").group_by("bucket", "network", maintain_order=True):
        inputs = list(mine["source_bucket", "source_checksum"].iter_rows())
        rows.append(
            (
                bucket,
                network,
                int(mine["source_events"].sum()),
                recipe.checksum(inputs),
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


def _numbers(clickhouse: Client, recipe: Recipe, build: Build, which: str, span: dict[str, int]) -> pl.DataFrame:
    sql = recipe.numbers.replace("{which}", which)
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
