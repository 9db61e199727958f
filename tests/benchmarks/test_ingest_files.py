"""`tally ingest` of the Wikipedia edits, from pressing Enter to the last row in both stores."""

from __future__ import annotations

import gzip
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from resources.clickhouse import insert_frame, open_clickhouse

ROUNDS = 3


def _bare(url: str, path: Path, ids: list[str], workspace: str) -> float:
    """The least that can be done: read the file into a frame, insert it at once. No identity, no durable log."""
    client = open_clickhouse(url)
    began = time.perf_counter()
    edits = pl.read_ndjson(gzip.decompress(path.read_bytes()), infer_schema_length=1000)
    at = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_zone="UTC", time_unit="ms")
    frame = edits.select(
        pl.lit(workspace).alias("workspace"),
        pl.Series("event_id", ids),
        pl.when(pl.col("isNew")).then(pl.lit("post.created")).otherwise(pl.lit("post.edited")).alias("type"),
        pl.lit("wikipedia").alias("network"),
        pl.col("user").alias("actor"),
        pl.concat_str("channel", pl.lit("/"), "page").alias("object"),
        pl.struct("comment", "added", "deleted", "delta").struct.json_encode().alias("properties"),
        *(at.alias(name) for name in ("occurred_at", "received_at", "event_time")),
    )
    insert_frame(client, "events", frame)
    return time.perf_counter() - began


def test_ingest_wikipedia(stack: Any, figures: Any, real_file: Callable[[str], Path]) -> None:
    path = real_file("wikipedia_edits.json.gz")
    stack.up("clickhouse", "collector", "worker-raw", "worker-live")
    whole, inside, limits = [], [], []
    rows = 0
    for number in range(ROUNDS):  # a workspace of its own each time: the same rows are new ones there
        began = time.perf_counter()
        report = stack.tally("ingest", str(path), "--network", "wikipedia", "--workspace", f"round{number}")
        whole.append(time.perf_counter() - began)
        inside.append(report["queryable_seconds"])
        rows = report["stored"]
        assert report["balanced"]
        assert report["stored"] + report["duplicate"] == report["read"]
        ids = [str(uuid.uuid4()) for _ in range(report["read"])]
        limits.append(_bare(stack.settings.clickhouse_url, path, ids, f"bare{number}"))
    taken, limit = statistics.median(whole), statistics.median(limits)
    figures.add(
        f"`tally ingest`, {rows:,} Wikipedia edits, until queryable",
        f"{taken:.2f} s, of which the load {statistics.median(inside):.2f} s",
        against=f"polars read and one Arrow insert, no log, no checks: {limit:.2f} s",
        ratio=f"{taken / limit:.1f} x",
        target="under 3 s",
        reached=taken < 3,
    )
