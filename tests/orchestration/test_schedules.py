"""Schedules: which partitions they ask for, and when they rather wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.networks import NETWORKS
from assets.partitions import HOUR, hour_start
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from orchestration.schedules import MOST_LAG, MOST_QUEUED, Load, build_batch_schedules, build_close_schedule

AT = datetime(2026, 5, 2, 14, 3, tzinfo=UTC)


def schedule(name: str) -> dg.ScheduleDefinition:
    return next(s for s in build_batch_schedules(running=False) if s.name == name)


def ask(name: str, at: datetime, instance: dg.DagsterInstance, resources: dict[str, Any]) -> Any:
    needed = {key: value for key, value in resources.items() if key in schedule(name).required_resource_keys}
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at, resources=needed)
    return schedule(name)(context)


def test_the_ingest_hour_that_is_over_is_closed() -> None:
    request = build_close_schedule(running=False)(dg.build_schedule_context(scheduled_execution_time=AT))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-05-02-13:00"


def test_the_day_that_is_over_is_one_run_for_all_networks(instance: dg.DagsterInstance) -> None:
    request = ask("daily_close", datetime(2026, 5, 3, 0, 12, tzinfo=UTC), instance, {})
    assert request.tags == {
        "dagster/asset_partition_range_start": f"2026-05-02|{NETWORKS[0]}",
        "dagster/asset_partition_range_end": f"2026-05-02|{NETWORKS[-1]}",
    }


def test_the_hour_that_is_over_is_sealed_when_the_archive_has_passed_it(
    platform: Any, make_events: Any, instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    last = hour_start(datetime.now(UTC)) - 2 * HOUR
    platform.send(make_events(1, 5, last, last + HOUR), at=last + timedelta(minutes=30))
    at = last + HOUR + timedelta(minutes=3)
    waiting = ask("hourly_seal", at, instance, resources)
    assert isinstance(waiting, dg.SkipReason)
    assert "is not complete" in (waiting.skip_message or "")

    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    seal_range(stores, SealRequest(last, last), "test", lambda _text: None)
    request = ask("hourly_seal", at, instance, resources)
    assert request.tags["dagster/asset_partition_range_start"] == f"{last:%Y-%m-%d-%H:%M}|{NETWORKS[0]}"
    assert request.tags["dagster/asset_partition_range_end"] == f"{last:%Y-%m-%d-%H:%M}|{NETWORKS[-1]}"


def test_the_quiet_hours_are_used_once_a_night_and_only_when_it_is_quiet(resources: dict[str, Any]) -> None:
    @dg.job(name="maintenance")
    def maintenance() -> None: ...

    night = datetime(2026, 5, 3, 2, 20, tzinfo=UTC)
    tags = {"tally/night": "2026-05-03"}
    with dg.instance_for_test() as instance:
        request = ask("nightly_low_load", night, instance, resources)
        assert request.tags["tally/night"] == "2026-05-03"
        instance.create_run_for_job(maintenance, tags=tags, status=dg.DagsterRunStatus.SUCCESS)
        again = ask("nightly_low_load", night + HOUR, instance, resources)
        assert again.skip_message == "maintenance has run tonight"


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (Load({"raw": 0, "live": MOST_LAG}, MOST_QUEUED, 0), ""),
        (Load({"raw": 0, "live": MOST_LAG + 1}, 0, 0), "group live is 20,001 messages behind (limit 20,000)"),
        (Load({"raw": 0}, MOST_QUEUED + 1, 0), "4 runs are waiting or under way (limit 3)"),
    ],
)
def test_too_much_to_do_is_said_with_numbers(load: Load, reason: str) -> None:
    assert load.too_much() == reason


def test_every_clock_is_utc() -> None:
    for one in (*build_batch_schedules(running=False), build_close_schedule(running=False)):
        assert one.execution_timezone == "UTC"


def test_sessions_are_sealed_for_every_stale_day_of_the_last_week(instance: dg.DagsterInstance) -> None:
    request = ask("daily_sessions", datetime(2026, 5, 9, 0, 14, tzinfo=UTC), instance, {})
    config = request.run_config["ops"]["seal_range"]["config"]
    assert config == {"start": "2026-05-01T00:00:00+00:00", "end": "2026-05-09T00:00:00+00:00"}
