"""Where a zone keeps its offset, the buckets counted out here are the ones the store cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from serving.timeline import GRAINS, Grain, bucket_sql, grid_steps, regular_starts, zone

RANGES = (
    (datetime(2024, 2, 28, 22, 17, tzinfo=UTC), datetime(2024, 3, 1, 3, 5, 7, tzinfo=UTC)),  # over a leap day
    (datetime(2023, 12, 30, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC)),  # over a year, on the hour
    (datetime(2024, 1, 15, 23, 59, 59, 500_000, tzinfo=UTC), datetime(2024, 1, 16, 0, 0, 0, 1, tzinfo=UTC)),
)
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/Phoenix", "Pacific/Kiritimati", "America/Sao_Paulo")


@pytest.mark.parametrize("grain", [grain for grain in GRAINS if grain != "total"])
@pytest.mark.parametrize("tz", ZONES)
def test_they_are_the_stores(store: Client, grain: Grain, tz: str) -> None:
    for start, end in RANGES:
        step, steps = grid_steps(grain, start, end)
        at = f"toDateTime({int(start.timestamp())} + number * {step}, 'UTC')"
        sql = f"SELECT DISTINCT toInt64(toUnixTimestamp({bucket_sql(grain, at)})) FROM numbers({steps})"
        cut = sorted(row[0] for row in store.query(sql, parameters={"tz": tz}).result_rows)
        counted = regular_starts(grain, zone(tz), start, end)
        assert counted is not None
        assert counted[0] == cut[0]
        last = next(number for number, begin in enumerate(counted) if begin >= end.timestamp())
        assert counted[: last + 1] == cut[: last + 1]


@pytest.mark.parametrize(
    ("tz", "start"),
    [
        ("Europe/Berlin", datetime(2024, 3, 30, tzinfo=UTC)),  # summer time begins the day after
        ("Africa/Monrovia", datetime(1970, 6, 1, tzinfo=UTC)),  # 44 minutes and 30 seconds behind
        ("UTC", datetime(1970, 1, 1, tzinfo=UTC)),  # its week began before the store's first second
    ],
)
def test_where_they_are_not_regular_the_store_is_asked(tz: str, start: datetime) -> None:
    assert regular_starts("week", zone(tz), start, start + timedelta(days=2)) is None
