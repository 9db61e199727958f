"""A fact dataset, from the published slices its days are made of to its seals.

Belongs here: the recipe that every fact dataset shares, and writing facts. Does not belong here: computing them
(`analytics`, a dataset's own package), which metrics they make (`contracts/metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.build import Recipe, build_from_sources
from assets.publishing.checksum import digest
from assets.publishing.restate import PUBLISHED_SCOPE, Changes
from assets.publishing.seals import Build, Dataset
from assets.publishing.sources import NO_REACH, Reach, sources_of_days, without
from assets.publishing.staging import BuildReport
from contracts.facts import FACT_DATASETS
from resources.clickhouse import Client, insert_frame

FACT_SCHEMA: dict[str, pl.DataType] = {
    "bucket": pl.Datetime("ms", "UTC"),
    "workspace": pl.String(),
    "network": pl.String(),
    "dimension": pl.String(),
    "member": pl.String(),
    "measure": pl.String(),
    "value": pl.Int64(),
}
"""A fact. `bucket` is the start of a quarter of an hour."""

Fill = Callable[[Client, Build, pl.DataFrame, pl.DataFrame], None]

_DAY = "toStartOfDay(bucket, 'UTC')"
_IN_DAYS = """dataset = '@dataset'
    AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64} + 86400, 'UTC')"""
_NUMBERS = """
SELECT day AS bucket, network, rows, events
FROM
(
    SELECT toStartOfDay(bucket, 'UTC') AS day, network, count() AS rows,
        toUInt64(sumIf(value, dimension = 'all' AND measure = '@counted')) AS events
    FROM facts_builds
    WHERE @in_days
        AND (network, toStartOfDay(bucket, 'UTC'), build_id) IN
            (SELECT network, bucket, {which} FROM build_scopes WHERE build_id = toUUID({build_id:String}))
    GROUP BY day, network
)
"""
_CHANGES = """
SELECT measure AS metric, bucket, workspace, network, '' AS type, dimension, member,
    sumIfOrNull(value, build_id != toUUID({build_id:String})) AS old_value,
    sumIfOrNull(value, build_id = toUUID({build_id:String})) AS new_value
FROM facts_builds
WHERE @in_days AND (network, toStartOfDay(bucket, 'UTC'), build_id) IN (@scope)
GROUP BY bucket, workspace, network, dimension, member, measure
"""


def write_facts(clickhouse: Client, build: Build, facts: pl.DataFrame) -> int:
    """Write facts (FACT_SCHEMA) of a build; returns how many. Raises ValueError for a measure or dimension unknown."""
    dataset = FACT_DATASETS[build.dataset]
    for column, known in (("measure", dataset.measures), ("dimension", {"all", *dataset.dimensions})):
        unknown = sorted(set(facts[column].unique()) - set(known))
        if unknown:
            raise ValueError(f"facts of {dataset.name}: {column} {', '.join(unknown)} is not in contracts/facts.py")
    rows = facts.filter(pl.col("value") != 0).select(
        pl.lit(build.id).alias("build_id"),
        pl.lit(build.dataset).alias("dataset"),
        *(pl.col(name).cast(dtype) for name, dtype in FACT_SCHEMA.items()),
    )
    return insert_frame(clickhouse, "facts_builds", rows, token=f"facts/{build.dataset}/{build.id}")


def fact_changes(dataset: Dataset) -> Changes:
    """What a build of the dataset changes in facts of published days."""
    in_days = _IN_DAYS.replace("@dataset", dataset)
    return Changes(_CHANGES.replace("@in_days", in_days).replace("@scope", PUBLISHED_SCOPE), sealed_bucket=_DAY)


def build_facts(
    clickhouse: Client,
    dataset: Dataset,
    scope: pl.DataFrame,
    *,
    fill: Fill,
    method: Sequence[object],
    counted: str,
    cause: str,
    run_id: str,
    reach: Reach = NO_REACH,
    force: bool = False,
) -> BuildReport:
    """Build every (day, network) of the scope (SCOPE_SCHEMA) from published slices and publish what differs.

    fill: as in `Recipe`; it calls `write_facts` and writes the dataset's own tables under the same build id.
    method: whatever names the way the facts are made (versions, SQL, configuration): part of every seal's checksum.
    counted: the measure that a seal keeps as its `events`. reach: how far into neighbouring days a day looks.
    """
    in_days = _IN_DAYS.replace("@dataset", dataset)

    def checksum(sources: Sequence[tuple[datetime, int]]) -> int:
        return digest([*method, *(f"{at:%Y-%m-%d %H} {each}" for at, each in sources)]) if sources else 0

    recipe = Recipe(
        dataset,
        fill=fill,
        checksum=checksum,
        numbers=_NUMBERS.replace("@in_days", in_days).replace("@counted", counted),
        changes=fact_changes(dataset),
        counts_all=False,
    )
    scope = scope.unique(maintain_order=True).select(list(SCOPE_SCHEMA))
    sources, refused = sources_of_days(clickhouse, scope, "connector_slices", reach)
    kept = without(scope, refused)
    sources = sources.join(kept, on=["bucket", "network"], how="semi")
    report = build_from_sources(clickhouse, recipe, sources, kept, cause=cause, run_id=run_id, force=force)
    return replace(report, failed={**refused, **report.failed})
