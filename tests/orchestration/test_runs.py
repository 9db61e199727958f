"""Runs of the jobs as the daemon starts them: partitions, ranges, config, blocking checks, metadata."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.networks import NETWORKS
from assets.partitions import day_start, event_day_key, event_hour_key, ingest_hour_key

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def run(defs: dg.Definitions, job: str, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)


def archive(realtime: dg.Definitions, instance: dg.DagsterInstance, hour: datetime) -> dg.ExecuteInProcessResult:
    return run(realtime, "close_ingest_hour", instance, partition_key=ingest_hour_key(hour))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


def test_an_ingest_hour_is_archived_checked_and_described(
    realtime: dg.Definitions, instance: dg.DagsterInstance, one_hour: pl.DataFrame, last_hour: datetime
) -> None:
    result = archive(realtime, instance, last_hour)
    assert result.success
    assert evaluations(result) == {
        "accounting_equation": True,
        "archive_is_whole": True,
        "stores_agree": True,
        "log_is_whole": True,
        "no_gaps": True,
        "fresh_by_partition": True,
    }
    metadata = result.asset_materializations_for_node("raw_events")[0].metadata
    assert metadata["accepted"].value == metadata["stored"].value == one_hour.height
    assert metadata["closed"].value == f"{last_hour:%Y-%m-%d %H:%M}"
    ranges = metadata["offset_ranges"].value
    assert sum(where["end"] - where["start"] for where in ranges) == one_hour.height
    assert metadata["plot"].value.startswith("![Messages per log partition")


def test_all_networks_of_an_hour_are_one_run_and_a_day_follows(
    realtime: dg.Definitions,
    batch: dg.Definitions,
    instance: dg.DagsterInstance,
    one_hour: pl.DataFrame,
    last_hour: datetime,
) -> None:
    assert archive(realtime, instance, last_hour).success
    ends = event_hour_key(last_hour, NETWORKS[0]), event_hour_key(last_hour, NETWORKS[-1])
    result = run(batch, "seal_hours", instance, tags=dict(zip(RANGE, ends, strict=True)))
    assert result.success
    assert evaluations(result)["each_event_once"]
    assert evaluations(result)["live_equals_sealed"]
    slices = result.asset_materializations_for_node("connector_slices")
    assert {mat.partition for mat in slices} == {str(event_hour_key(last_hour, network)) for network in NETWORKS}
    assert slices[0].metadata["events"].value == one_hour.height
    hourly = result.asset_materializations_for_node("engagement_hourly")[0].metadata
    assert hourly["events"].value == one_hour.height
    assert hourly["restatements"].value == 0


def test_an_hour_that_is_not_over_is_refused_with_the_watermark(
    batch: dg.Definitions, instance: dg.DagsterInstance, one_hour: pl.DataFrame, last_hour: datetime
) -> None:
    result = run(batch, "seal_hours", instance, partition_key=event_hour_key(last_hour, "app"))
    assert not result.success
    failure = result.all_events[-1].message or ""
    steps = " ".join(str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure)
    assert "no bucket of this run is complete" in steps, failure
    assert "held back by" in steps
    again = [event for event in result.all_events if event.is_step_restarted]
    assert not again, "waiting does not help within a run, so it is not retried"


def test_a_daily_partition_merges_its_hours(
    realtime: dg.Definitions,
    batch: dg.Definitions,
    instance: dg.DagsterInstance,
    platform: Any,
    make_events: Any,
    last_hour: datetime,
) -> None:
    day = day_start(last_hour) - timedelta(days=1)
    events = make_events(3, 300, day, day + timedelta(hours=3), networks=("app",))
    platform.send(events, at=day + timedelta(hours=3, minutes=30))
    assert archive(realtime, instance, day + timedelta(hours=3)).success
    hours = event_hour_key(day, "app"), event_hour_key(day + timedelta(hours=2), "app")
    early = run(batch, "seal_days", instance, partition_key=event_day_key(day, "app"))
    assert not early.success, "a day with unsealed hours would be too small"
    assert run(batch, "seal_hours", instance, tags=dict(zip(RANGE, hours, strict=True))).success
    result = run(batch, "seal_days", instance, partition_key=event_day_key(day, "app"))
    assert result.success
    assert result.asset_materializations_for_node("engagement_daily")[0].metadata["events"].value == 300
