"""What a build of facts held when it was published: rows and a hash per day, network and table.

Belongs here: writing that down, before the build is published. Does not belong here: comparing it with what is there
now (`serving.audit.contents`). A seal's own checksum names what went in; this names what came out.
"""

from __future__ import annotations

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import Build, bounds, conform
from resources.clickhouse import Client, insert_frame, query_frame
from resources.clickhouse.builds import FACT_TABLES
from resources.clickhouse.sql import render

_HELD = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "hash": pl.UInt64()}


def record_contents(clickhouse: Client, build: Build, pairs: pl.DataFrame) -> None:
    """Write down what the build holds for these pairs (SCOPE_SCHEMA), nothing where it is nothing."""
    if pairs.is_empty():
        return
    given = {"build_id": build.id, **bounds(pairs)}
    keys = list(SCOPE_SCHEMA)
    frames = []
    for table, day in FACT_TABLES.get(build.dataset, {}).items():
        condition = (
            f"build_id = toUUID({{build_id:String}}) AND {day} >= toDateTime({{from_s:Int64}}, 'UTC')"
            f" AND {day} <= toDateTime({{to_s:Int64}}, 'UTC')"
        )
        sql = render("build_contents", dataset=build.dataset, table=table, day=day, condition=condition)
        held = conform(query_frame(clickhouse, sql, given).rename({"sealed_bucket": "bucket"}), _HELD)
        found = pairs.select(keys).join(held, on=keys, how="left", maintain_order="left")
        frames.append(
            found.select(
                pl.lit(build.id).alias("build_id"),
                pl.lit(build.dataset).alias("dataset"),
                *keys,
                pl.lit(table).alias("held_in"),
                pl.col("rows", "hash").fill_null(0),
            )
        )
    if frames:
        insert_frame(clickhouse, "build_contents", pl.concat(frames), token=f"contents/{build.dataset}/{build.id}")
