"""Stage a build's scope, compare what was staged with what is published, and publish what differs.

Belongs here: the steps every dataset shares. Does not belong here: the SQL that fills a build.

A crash between any two steps leaves at most rows under a build id that no seal names: invisible, and cleared away by
`purge_unpublished`. Running again makes a new build. Two runs of the same partitions at once each stage their own
build; the later publication stands, and if it saw less than the archive now holds, the pair is dirty and sealed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.contents import record_contents
from assets.publishing.seals import NO_BUILD, Build, publish
from resources.clickhouse import Client, insert_frame
from resources.crashpoints import crashpoint

STATS_SCHEMA = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "events": pl.UInt64(), "checksum": pl.UInt64()}
"""What a build holds per pair. `events` is the number a later check compares; `checksum` names what went into it."""


DONE_SCHEMA = {**STATS_SCHEMA, "previous_build_id": pl.String()}


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. Frames have DONE_SCHEMA; `failed` maps pairs to reasons."""

    build: Build
    published: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DONE_SCHEMA))
    unchanged: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DONE_SCHEMA))
    restatements: int = 0
    failed: Mapping[tuple[object, str], str] = field(default_factory=dict)
    details: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def sealed(self) -> pl.DataFrame:
        """Every pair that readers now see correctly: just published, or found to be right already."""
        return pl.concat([self.published, self.unchanged])

    @property
    def events(self) -> int:
        return int(self.sealed["events"].sum())


def stage_scope(clickhouse: Client, build: Build, sources: pl.DataFrame) -> None:
    """Write down what the build is about.

    sources: SCOPE_SCHEMA with `previous_build_id`, `source_bucket`, `source_build_id`; several rows per pair where a
    bucket is made of several, NO_BUILD where there is none.
    """
    rows = sources.select(
        pl.lit(build.id).alias("build_id"),
        pl.lit(build.dataset).alias("dataset"),
        "bucket",
        "network",
        "previous_build_id",
        "source_bucket",
        "source_build_id",
    )
    insert_frame(clickhouse, "build_scopes", rows)


def compare(newest: pl.DataFrame, staged: pl.DataFrame, intact: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split the staged pairs (STATS_SCHEMA) into those that readers do not see yet and those that need no publication.

    newest: SEAL_SCHEMA. intact: pairs whose published build was found to hold what its seal says. A pair is left as it
    is when it is intact and its seal has the staged checksum, rows and events. Both answers have `previous_build_id`.
    """
    known = newest.select(
        "bucket", "network", "build_id", *(pl.col(c).alias(f"old_{c}") for c in ("rows", "events", "checksum"))
    )
    compared = staged.join(known, on=["bucket", "network"], how="left", maintain_order="left").join(
        intact.select("bucket", "network", pl.lit(value=True).alias("intact")), on=["bucket", "network"], how="left"
    )
    same = (
        pl.col("intact").fill_null(value=False)
        & pl.col("build_id").is_not_null()
        & (pl.col("rows") == pl.col("old_rows"))
        & (pl.col("events") == pl.col("old_events"))
        & (pl.col("checksum") == pl.col("old_checksum"))
    )
    marked = compared.with_columns(
        same.fill_null(value=False).alias("same"), pl.col("build_id").fill_null(NO_BUILD).alias("previous_build_id")
    )
    columns = list(DONE_SCHEMA)
    return marked.filter(~pl.col("same")).select(columns), marked.filter("same").select(columns)


def publish_build(clickhouse: Client, build: Build, changed: pl.DataFrame) -> None:
    """Publish, between two places where a test may kill the process. What facts hold is written down before."""
    record_contents(clickhouse, build, changed)
    crashpoint(f"publish.{build.dataset}.before")
    publish(clickhouse, build, changed)
    crashpoint(f"publish.{build.dataset}.after")
