"""Bucket edges: what Python computes is where the engine puts rows, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from serving.timeline import Grain, bucket_edges, bucket_sql, time_zones

ODD = (
    "UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "America/New_York",
    "Australia/Lord_Howe",  # moves by half an hour
    "America/Santiago", "America/Havana", "Africa/Cairo",  # midnights that are skipped or come twice
    "Africa/Casablanca", "Pacific/Chatham",
)  # fmt: skip


RANGES = (
    (datetime(2023, 12, 20, tzinfo=UTC), datetime(2025, 1, 10, tzinfo=UTC)),  # every change of a year, a leap day
    (datetime(2024, 2, 28, 22, 17, tzinfo=UTC), datetime(2024, 3, 1, 3, 5, 7, tzinfo=UTC)),
    (datetime(2024, 1, 15, 23, 59, 59, tzinfo=UTC), datetime(2024, 1, 16, 0, 0, 1, tzinfo=UTC)),
)


@pytest.mark.parametrize("grain", ["minute", "hour", "day", "week", "month"])
def test_edges_are_where_the_engine_cuts(store: Client, grain: Grain) -> None:
    for tz, (start, end) in product(ODD, RANGES[1:] if grain == "minute" else RANGES):
        step = timedelta(seconds=1) if end - start < timedelta(days=1) else timedelta(minutes=1)
        step = timedelta(minutes=30) if end - start > timedelta(days=9) else step
        at = f"toDateTime({int(start.timestamp())} + number * {int(step.total_seconds())}, 'UTC')"
        edge = f"toUnixTimestamp({bucket_sql(grain, at)}) AS edge"
        sql = f"SELECT DISTINCT {edge} FROM numbers({{n:UInt64}}) ORDER BY edge"
        n = -((start - end) // step)  # rounded up
        cut = [row[0] for row in store.query(sql, parameters={"tz": tz, "n": n}).result_rows]
        assert bucket_edges(grain, ZoneInfo(tz), start, end)[:-1] == cut, tz


def test_buckets_cover_the_range_without_gap_in_every_zone() -> None:
    start, end = datetime(2024, 3, 9, 5, 20, tzinfo=UTC), datetime(2024, 3, 12, 7, 10, tzinfo=UTC)
    for tz in sorted(time_zones()):
        for grain in ("minute", "hour", "day", "week", "month"):
            edges = bucket_edges(grain, ZoneInfo(tz), start, end)
            assert edges[0] <= start.timestamp() < edges[1]
            assert edges[-2] < end.timestamp() <= edges[-1]
            assert all(left < right for left, right in pairwise(edges))
