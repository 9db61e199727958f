"""Counts of fine buckets add up to coarse ones, in every zone, over year end and summer time; uniques do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from serving.query import MetricQuery, answer

SPANS = {
    "year end": (datetime(2023, 12, 25, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC)),
    "autumn": (datetime(2024, 10, 26, tzinfo=UTC), datetime(2024, 11, 4, tzinfo=UTC)),
}
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin", "America/New_York")


@pytest.fixture(scope="module")
def events(store: Client, reference: Any) -> pl.DataFrame:
    """Rows of both spans; `alpha` is sealed by hours and days."""
    frames = []
    for seed, (start, end) in enumerate(SPANS.values()):
        rows = reference.make_events(seed=seed, count=1500, start=start, end=end)
        frames.append(rows.with_columns(pl.col("log_offset") + 100_000 * seed))
    rows = pl.concat(frames)
    reference.insert_events(store, rows)
    for start, end in SPANS.values():
        days = [start + timedelta(days=n) for n in range((end - start).days)]
        hours = [day + timedelta(hours=n) for day in days for n in range(24)]
        reference.seal(store, hours, ["alpha"], end)
        reference.seal(store, days, ["alpha"], end + timedelta(hours=1), daily=True)
    return rows


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("span", SPANS)
def test_hours_days_weeks_and_months_count_the_same_events(
    store: Client, events: pl.DataFrame, reference: Any, span: str, tz: str
) -> None:
    start, end = SPANS[span]

    def ask(metric: str, grain: str) -> pl.DataFrame:
        return answer(store, MetricQuery(metric, start=start, end=end, grain=grain, tz=tz)).frame  # type: ignore[arg-type]  # by loop

    scanned = events.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
    engagements = scanned.filter(pl.col("type").is_in(reference.counted["engagements"])).height
    by_grain = {grain: ask("engagements", grain) for grain in ("hour", "day", "week", "month", "total")}
    assert {grain: frame["value"].sum() for grain, frame in by_grain.items()} == dict.fromkeys(by_grain, engagements)
    days = by_grain["day"]
    for grain in ("week", "month"):
        coarse = by_grain[grain].select("bucket", pl.col("bucket").alias("within"), pl.col("value").alias("whole"))
        sums = days.join_asof(coarse, on="bucket").group_by("within", "whole").agg(pl.col("value").sum())
        assert sums.height == coarse.height
        assert (sums["value"] == sums["whole"]).all()

    actors = ask("active_actors", "total")["value"].item()
    assert actors == scanned["actor"].n_unique()
    assert ask("active_actors", "day")["value"].sum() > actors
