"""Published facts, sessions and credits against what their builds held when they were published.

Belongs here: this comparison. Does not belong here: writing down what a build holds (`assets.publishing.contents`),
whether it was computed rightly (the checks of each dataset do).

Builds that were published by a release that did not write it down are not compared.
"""

from __future__ import annotations

import polars as pl

from contracts.envelope import UTC_MS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.builds import FACT_TABLES
from resources.clickhouse.sql import render
from serving.audit.findings import build, join_all
from serving.audit.rollups import Span

_BUCKETS = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')"
_WRITTEN = """
SELECT toUnixTimestamp(bucket) AS day_s, toString(network) AS network, rows AS expected_rows, hash AS expected_hash
FROM build_contents FINAL
WHERE dataset = {{dataset:String}} AND held_in = {{held_in:String}} AND {buckets}
    AND (bucket, network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))
"""
_OF_PUBLISHED = """
{day} >= toDateTime({{from_s:Int64}}, 'UTC') AND {day} < toDateTime({{to_s:Int64}}, 'UTC')
AND ({day}, network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))
"""
_KEYS = ["day_s", "network"]


def compare_contents(client: Client, span: Span) -> pl.DataFrame:
    """Findings about the builds of days that begin in the span: place is the dataset, columns name the table."""
    found = []
    for dataset, tables in FACT_TABLES.items():
        published = render("published_builds", dataset=dataset, condition=_BUCKETS)
        for table, day in tables.items():
            given = {**span.bounds, "dataset": dataset, "held_in": table}
            written = query_frame(client, _WRITTEN.format(buckets=_BUCKETS, published=published), given)
            if written.is_empty():
                continue
            condition = _OF_PUBLISHED.format(day=day, published=published)
            sql = render("build_contents", dataset=dataset, table=table, day=day, condition=condition)
            held = query_frame(client, sql, given).select(
                pl.col("sealed_bucket").alias("day_s"), "network", "rows", "hash"
            )
            found.append(_differing(dataset, table, written, held))
    return join_all(found)


def _differing(dataset: str, table: str, written: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    numbers = pl.col("expected_rows", "expected_hash", "rows", "hash").fill_null(0).cast(pl.UInt64)
    keys = pl.col("day_s").cast(pl.Int64), pl.col("network").cast(pl.String)
    both = written.with_columns(keys).join(held.with_columns(keys), on=_KEYS, how="left").with_columns(numbers)
    wrong = both.filter(
        (pl.col("rows") != pl.col("expected_rows")) | (pl.col("hash") != pl.col("expected_hash"))
    ).with_columns(
        pl.from_epoch("day_s", "s").dt.replace_time_zone("UTC").cast(UTC_MS).alias("bucket"),
        pl.lit(f"rows of {table}").alias("columns"),
        pl.format("{} rows, hash {}", "expected_rows", "expected_hash").alias("expected"),
        pl.format("{} rows, hash {}", "rows", "hash").alias("found"),
    )
    gone = pl.col("rows") == 0
    return join_all(
        [
            build("sealed rollups", "missing", dataset, wrong.filter(gone)),
            build("sealed rollups", "changed", dataset, wrong.filter(~gone)),
        ]
    )
