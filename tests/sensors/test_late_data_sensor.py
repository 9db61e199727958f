"""The late-data sensor: which hours, one run per network, and not the same run again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.partitions import HOUR, hour_start
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from sensors.late_data import DUE_TAG, NETWORK_TAG, evaluate

NOW = datetime.now(UTC)
SETTLED = timedelta(minutes=5)
"""How long after the last event the sensor looks: the hours have settled by then."""
OLD = hour_start(NOW) - 5 * HOUR


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def stores(platform: Any) -> Stores:
    return Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)


def archive(stores: Stores) -> None:
    request = SealRequest(NOW, NOW)  # an empty range: only what is unread is archived
    seal_range(stores, request, "test", lambda _text: None)


def seal(stores: Stores) -> None:
    seal_range(stores, SealRequest(OLD, NOW + HOUR), "test", lambda _text: None)


def config(request: dg.RunRequest) -> Any:
    return request.run_config["ops"]["seal_range"]["config"]


def look(platform: Any, instance: dg.DagsterInstance, after: timedelta = SETTLED) -> dg.SensorResult:
    return evaluate(platform.log, platform.clickhouse, instance, datetime.now(UTC) + after)


def test_never_sealed_then_late_then_nothing(
    platform: Any, stores: Stores, make_events: Any, instance: dg.DagsterInstance
) -> None:
    platform.send(make_events(1, 60, OLD, OLD + 3 * HOUR))
    archive(stores)
    requests = {config(r)["networks"][0]: r for r in look(platform, instance).run_requests or []}
    assert set(requests) == {"app", "sim"}
    assert config(requests["app"]) == {
        "start": OLD.isoformat(),
        "end": (OLD + 3 * HOUR).isoformat(),
        "networks": ["app"],
        "cause": "seal",
    }
    seal(stores)
    assert look(platform, instance).skip_reason

    platform.send(make_events(2, 1, OLD, OLD + HOUR, networks=("sim",), received_at=datetime.now(UTC)))
    archive(stores)
    (late,) = look(platform, instance).run_requests or []
    assert config(late)["cause"] == "late data"
    assert config(late)["networks"] == ["sim"]
    assert late.tags["tally/late_hours"] == "1"


def test_hours_that_still_fill_wait(
    platform: Any, stores: Stores, make_events: Any, instance: dg.DagsterInstance
) -> None:
    current = hour_start(NOW)
    platform.send(make_events(1, 20, current, NOW + timedelta(seconds=1)))
    archive(stores)
    skipped = look(platform, instance, timedelta(seconds=5)).skip_reason
    assert skipped
    assert "none is due" in (skipped.skip_message or "")
    assert "watermark" in (skipped.skip_message or "")


def test_beyond_the_horizon_nothing_is_asked_for(
    platform: Any, stores: Stores, make_events: Any, instance: dg.DagsterInstance
) -> None:
    platform.send(make_events(1, 20, OLD, OLD + HOUR, networks=("app",)))
    archive(stores)
    seal(stores)
    platform.send(make_events(2, 1, OLD, OLD + HOUR, networks=("app",), received_at=datetime.now(UTC)))
    archive(stores)
    assert look(platform, instance).run_requests
    assert look(platform, instance, timedelta(days=31)).skip_reason


def test_no_second_run_while_one_is_under_way_and_none_after_a_failure_until_something_changes(
    platform: Any, stores: Stores, make_events: Any, instance: dg.DagsterInstance
) -> None:
    @dg.job
    def seal_job() -> None: ...

    platform.send(make_events(1, 20, OLD, OLD + HOUR, networks=("app",)))
    archive(stores)
    (request,) = look(platform, instance).run_requests or []
    tags = {name: request.tags[name] for name in (NETWORK_TAG, DUE_TAG)}
    run = instance.create_run_for_job(seal_job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    waiting = look(platform, instance).skip_reason
    assert waiting
    assert f"run {run.run_id[:8]} is under way" in (waiting.skip_message or "")

    instance.report_run_failed(run)
    refused = look(platform, instance).skip_reason
    assert refused
    assert "failed for exactly these hours" in (refused.skip_message or "")
    assert look(platform, instance, SETTLED + timedelta(hours=1)).run_requests

    platform.send(make_events(2, 1, OLD, OLD + HOUR, networks=("app",)))
    archive(stores)
    assert look(platform, instance).run_requests
