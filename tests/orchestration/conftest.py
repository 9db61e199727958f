"""Definitions over the stores of `platform`, and an instance that is thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.partitions import HOUR, hour_start


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def resources(platform: Any) -> dict[str, Any]:
    """The stores' resources, as `build_definitions(resources=…)` takes them."""
    from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource

    kinds = {
        "event_log": EventLogResource,
        "raw_store": RawStoreResource,
        "archive": ArchiveResource,
        "clickhouse": ClickHouseResource,
    }
    return {name: kind(url=platform.urls[name]) for name, kind in kinds.items()}


@pytest.fixture
def realtime(resources: dict[str, Any]) -> dg.Definitions:
    from orchestration.assembly import build_definitions

    return build_definitions("realtime", resources=resources, automation=False)


@pytest.fixture
def batch(resources: dict[str, Any], clickhouse_url: str, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    from orchestration.assembly import build_definitions

    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", clickhouse_url)
    return build_definitions("batch", resources=resources, automation=False)


@pytest.fixture
def last_hour() -> datetime:
    """The start of an hour that is over for a while: three hours ago."""
    return hour_start(datetime.now(UTC)) - 3 * HOUR


@pytest.fixture
def one_hour(platform: Any, make_events: Any, last_hour: datetime) -> pl.DataFrame:
    """800 events of `last_hour`, appended in it."""
    events = make_events(5, 800, last_hour, last_hour + timedelta(minutes=50))
    stored: pl.DataFrame = platform.send(events, at=last_hour + timedelta(minutes=55))
    return stored
