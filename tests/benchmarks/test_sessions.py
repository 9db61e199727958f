"""Sessions of three million clicks, from published slices to published sessions and facts."""

from __future__ import annotations

import resource
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from analytics.sessions import GAP
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import Build, publish
from assets.sessions.build import build_sessions
from resources.clickhouse import insert_frame, open_clickhouse, query_frame
from resources.clickhouse.migrate import migrate

CLICKS, PEOPLE, DAYS = 3_000_000, 314_000, 16
FIRST_DAY = datetime(2025, 10, 1, tzinfo=UTC)


def clicks(count: int, people: int) -> pl.DataFrame:
    """Clicks in bouts of about three, as readers of a news portal make them; the same for the same numbers."""
    rng = np.random.default_rng(7)
    bouts = count // 3
    who, start = rng.integers(0, people, bouts), rng.integers(0, DAYS * 86_400_000 - 3_600_000, bouts)
    bout = np.sort(rng.integers(0, bouts, count))
    at = start[bout] + rng.integers(0, 1_500_000, count)
    ids = rng.permutation(count)
    milliseconds = pl.Series(at + int(FIRST_DAY.timestamp() * 1000))
    return pl.DataFrame(
        {
            "workspace": pl.repeat("real", count, eager=True),
            "event_id": "01890000-0000-7000-8000-" + pl.Series(ids).cast(pl.String).str.zfill(12),
            "type": pl.repeat("content.clicked", count, eager=True),
            "network": pl.repeat("globo", count, eager=True),
            "actor": pl.Series(who[bout]).cast(pl.String),
            "object": pl.Series(rng.zipf(1.3, count) % 46_000).cast(pl.String),
            "campaign": pl.repeat("", count, eager=True),
            "topics": pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, count),
            "properties": pl.repeat('{"click_environment":4,"click_deviceGroup":1,"click_os":17}', count, eager=True),
            "event_time": milliseconds.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"),
        }
    ).with_columns(
        received_at=pl.col("event_time"),
        log_topic=pl.lit("content-events"),
        log_partition=pl.lit(0, pl.Int32),
        log_offset=pl.int_range(count),
    )  # fmt: skip


def bare(rows: pl.DataFrame) -> int:
    """The least that sessions ask for: sort by person and time, cut at pauses, count per session."""
    ordered = rows.select("actor", "event_time", "object").sort("actor", "event_time")
    cut = (pl.col("event_time").diff() >= GAP) | (pl.col("actor") != pl.col("actor").shift(1))
    numbered = ordered.with_columns(cut.fill_null(value=True).cum_sum().alias("session"))
    return numbered.group_by("session").agg(pl.len(), pl.col("event_time").max(), pl.col("object").first()).height


def test_three_million_clicks(clickhouse_server: str, figures: Any, scale: float) -> None:
    url = f"{clickhouse_server}/bench_sessions"
    migrate(url)
    client = open_clickhouse(url)
    rows = clicks(int(CLICKS * scale), int(PEOPLE * scale))
    slices = Build("connector_slices", "bench", "bench")
    for at in range(0, rows.height, 500_000):
        insert_frame(
            client, "connector_slices_builds", rows.slice(at, 500_000).with_columns(build_id=pl.lit(slices.id))
        )
    seals = (
        rows.group_by(pl.col("event_time").dt.truncate("1h").alias("bucket"), "network")
        .agg(pl.len().alias("rows"))
        .with_columns(
            events=pl.col("rows"),
            checksum=pl.col("rows"),
            previous_build_id=pl.lit("00000000-0000-0000-0000-000000000000"),
        )
    )
    publish(client, slices, seals)
    began = time.perf_counter()
    expected = bare(rows)
    limit = time.perf_counter() - began
    total = rows.height
    del rows
    days = [(FIRST_DAY + timedelta(days=number), "globo") for number in range(DAYS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    report = build_sessions(
        client, pl.DataFrame(days, schema=SCOPE_SCHEMA, orient="row"), cause="bench", run_id="bench"
    )
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert not report.failed
    assert report.events == total
    assert query_frame(client, "SELECT count() AS n FROM sessions")["n"].item() == expected
    figures.add(
        f"sessions of {total:,} clicks sealed, {expected:,} sessions of 16 days",
        f"{took:.1f} s",
        against=f"polars sort, cut and group-by of the same rows in memory: {limit:.1f} s",
        ratio=f"{took / limit:.1f} x",
        target="under 20 s",
        reached=took < 20 * scale,
    )
    figures.add(
        "memory while sealing them, this process with the rows it had made",
        f"{peak:.2f} GB",
        against=f"before: {before / 2**20:.2f} GB",
        target="under 2 GB",
        reached=peak < 2,
    )
