"""The chain of plain functions from log to sealed day, over the stores of `platform`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.raw_events.process import Stores
from assets.sealing import Sealed, SealRequest, seal_range

FIRST_HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)


@pytest.fixture
def stores(platform: Any) -> Stores:
    return Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)


@pytest.fixture
def seal_all(stores: Stores) -> Callable[..., Sealed]:
    """Seal everything that is due, whatever its time."""

    def run(**options: Any) -> Sealed:
        request = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), **options)
        return seal_range(stores, request, "test-run", lambda _text: None)

    return run


@pytest.fixture
def sealed_hours(platform: Any) -> Callable[[], pl.DataFrame]:
    """What readers see of engagement_hourly: one row per key with events and distinct actors."""
    from resources.clickhouse import query_frame

    def read(table: str = "engagement_hourly") -> pl.DataFrame:
        return query_frame(
            platform.clickhouse,
            "SELECT toUnixTimestamp(bucket) AS at, toString(workspace) AS workspace, toString(network) AS network,"
            " toString(type) AS type, toString(dimension) AS dimension, member, toUInt64(sum(events)) AS events,"
            f" uniqExactMerge(actors) AS actors FROM {table} GROUP BY ALL"  # our own table names
            " ORDER BY ALL",
        )

    return read


@pytest.fixture
def two_hours(platform: Any, make_events: Any) -> pl.DataFrame:
    """3,000 events of two event hours, appended while they happened, each hour in its ingest hour."""
    sent = []
    for number in range(2):
        start = FIRST_HOUR + timedelta(hours=number)
        events = make_events(number, 1500, start, start + timedelta(minutes=59))
        sent.append(platform.send(events, at=start + timedelta(minutes=59, seconds=30)))
    return pl.concat(sent)
