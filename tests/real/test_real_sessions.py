"""Sessions of real clicks through the whole spine equal a separate polars computation on the file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from resources.clickhouse import query_frame
from streaming.publisher.sessions import LiveSessions


def test_sessions_of_an_hour_of_news_clicks(spine: Any, real_file: Callable[[str], Path], clickhouse_url: str) -> None:
    """By window functions over the CSV: pauses of 30 minutes, no longer than a day (nobody clicks that long here)."""
    path = real_file("globo_clicks_hour.csv")
    clicks = (
        pl.read_csv(path, infer_schema_length=0)
        .unique(["user_id", "session_id", "click_article_id", "click_timestamp"])
        .select(
            pl.col("user_id"),
            pl.col("click_article_id").alias("article"),
            pl.from_epoch(pl.col("click_timestamp").cast(pl.Int64), "ms").alias("at"),
        )
        .sort("user_id", "at")
    )
    pause = pl.col("at") - pl.col("at").shift(1).over("user_id")
    begins = (pause.is_null() | (pause >= timedelta(minutes=30))).cum_sum().over("user_id")
    expected = (
        clicks.with_columns(begins.alias("n"))
        .group_by("user_id", "n")
        .agg(
            pl.col("at").min().dt.epoch("ms").alias("start"),
            pl.col("at").max().dt.epoch("ms").alias("end"),
            pl.len().alias("events"),
            pl.col("article").n_unique().alias("articles"),
        )
        .drop("n")
        .sort("user_id", "start")
    )
    assert (expected["end"] - expected["start"]).max() < 86_400_000

    account, _ = spine.load([path], "globo")
    first, last = clicks["at"].min(), clicks["at"].max()
    LiveSessions(clickhouse_url).run(first)

    def found(source: str) -> pl.DataFrame:
        sql = f"""SELECT actor AS user_id, toUnixTimestamp64Milli(started_at) AS start,
            toUnixTimestamp64Milli(ended_at) AS end, events, length(arrayDistinct(path)) AS articles
            FROM {source} ORDER BY user_id, start"""
        frame = query_frame(spine.stores.clickhouse, sql)
        return frame.select(pl.col(name).cast(kind) for name, kind in expected.schema.items())

    assert account is not None
    assert found("(SELECT * FROM live_sessions FINAL WHERE gone = 0)").equals(expected)
    utc = [at.replace(tzinfo=None).replace(hour=0, minute=0, second=0, microsecond=0) for at in (first, last)]

    spine.seal(utc[0].replace(tzinfo=UTC), utc[1].replace(tzinfo=UTC) + timedelta(days=1))
    assert found("sessions").equals(expected)
    answered = spine.ask("sessions", grain="total")
    assert answered["value"].to_list() == [expected.height]
    engaged = ((expected["end"] - expected["start"]) > 10_000).sum()
    assert spine.ask("engaged_sessions", grain="total")["value"].to_list() == [engaged]
