"""`engagement_hourly` and `engagement_daily`: the two rollups, from their sources to their seals.

Belongs here: which sources a build has. Does not belong here: Dagster, SQL (`statements`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import polars as pl

from assets.engagement.statements import CHANGES, NUMBERS, insert_statement, seal_checksum
from assets.publishing.build import Recipe, build_from_sources
from assets.publishing.restate import PUBLISHED_SCOPE, Changes
from assets.publishing.seals import Build, Dataset, bounds
from assets.publishing.sources import Refused, sources_of_days, sources_of_hours, without
from assets.publishing.staging import BuildReport
from resources.clickhouse import Client


@cache
def _recipe(dataset: Dataset) -> Recipe:
    """Hours from slices, days from hours: one statement each."""
    insert = insert_statement(dataset)
    table = f"{dataset}_builds"

    def fill(clickhouse: Client, build: Build, scope: pl.DataFrame, sources: pl.DataFrame) -> None:
        inputs = scope if sources.is_empty() else sources.select(pl.col("source_bucket").alias("bucket"))
        clickhouse.command(
            insert,
            parameters={"build_id": build.id, **bounds(inputs)},
            settings={"max_partitions_per_insert_block": 0},  # a build may span decades of months
        )

    return Recipe(
        dataset,
        fill=fill,
        checksum=partial(seal_checksum, dataset),
        numbers=NUMBERS.replace("@table", table),
        changes=Changes(CHANGES.replace("@table", table).replace("@scope", PUBLISHED_SCOPE)),
        counts_all=True,
    )


def build_hourly(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Roll up the published slices of the scope (event hour × network) and publish what differs."""
    scope = scope.unique(maintain_order=True)
    sources, refused = sources_of_hours(clickhouse, scope)
    return _build(
        clickhouse,
        _recipe("engagement_hourly"),
        sources,
        without(scope, refused),
        refused,
        cause=cause,
        run_id=run_id,
        force=force,
    )


def build_daily(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Merge the published hours of the scope (day × network) and publish what differs."""
    scope = scope.unique(maintain_order=True)
    sources, refused = sources_of_days(clickhouse, scope)
    return _build(
        clickhouse,
        _recipe("engagement_daily"),
        sources,
        without(scope, refused),
        refused,
        cause=cause,
        run_id=run_id,
        force=force,
    )


def _build(
    clickhouse: Client,
    recipe: Recipe,
    sources: pl.DataFrame,
    scope: pl.DataFrame,
    refused: Refused,
    *,
    cause: str,
    run_id: str,
    force: bool,
) -> BuildReport:
    sources = sources.join(scope, on=["bucket", "network"], how="semi")
    report = build_from_sources(clickhouse, recipe, sources, scope, cause=cause, run_id=run_id, force=force)
    return replace(report, failed={**refused, **report.failed})
