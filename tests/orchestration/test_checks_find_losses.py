"""A row deleted by hand from any store turns a check red that names store, partition, offset and id."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.partitions import event_hour_key, ingest_hour_key
from assets.raw_events.process import Stores, archive_hour


def check(defs: dg.Definitions, instance: dg.DagsterInstance, asset: str, name: str) -> dg.AssetCheckEvaluation:
    """Run one check alone, as the UI's button does."""
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name))
    job = dg.define_asset_job("just_this_check", selection=selection)
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("just_this_check").execute_in_process(instance=instance, raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    return found


@pytest.fixture
def archived(
    realtime: dg.Definitions, instance: dg.DagsterInstance, one_hour: pl.DataFrame, last_hour: datetime
) -> pl.DataFrame:
    job = realtime.resolve_job_def("close_ingest_hour")
    assert job.execute_in_process(instance=instance, partition_key=ingest_hour_key(last_hour)).success
    return one_hour


def position(row: dict[str, Any]) -> str:
    return f"{row['log_topic']}/{row['log_partition']}@{row['log_offset']}"


def test_in_the_raw_store(
    platform: Any,
    realtime: dg.Definitions,
    instance: dg.DagsterInstance,
    archived: pl.DataFrame,
    last_hour: datetime,
) -> None:
    lost = archived.row(7, named=True)
    with sqlite3.connect(platform.home / "raw_store.db") as database:
        database.execute("DELETE FROM events WHERE event_id = ?", [lost["event_id"]])

    account = check(realtime, instance, "raw_events", "accounting_equation")
    assert not account.passed
    assert "raw store" in (account.description or "")
    assert f"{lost['log_topic']}/{lost['log_partition']}" in (account.description or "")
    assert f"offsets {lost['log_offset']}" in (account.description or "")

    assert f"raw store lacks {position(lost)}" in (account.description or "")
    assert lost["event_id"] in (account.description or "")


def test_a_value_changed_in_the_raw_store(
    platform: Any, realtime: dg.Definitions, instance: dg.DagsterInstance, archived: pl.DataFrame
) -> None:
    changed = archived.row(7, named=True)
    with sqlite3.connect(platform.home / "raw_store.db") as database:
        database.execute("UPDATE events SET actor = 'mallory' WHERE event_id = ?", [changed["event_id"]])
    found = check(realtime, instance, "raw_events", "accounting_equation")
    assert not found.passed
    assert f"{position(changed)} in events changed" in (found.description or "")
    assert f"actor is 'mallory', should be '{changed['actor']}'" in (found.description or "")


def test_in_the_archive(
    platform: Any,
    realtime: dg.Definitions,
    instance: dg.DagsterInstance,
    archived: pl.DataFrame,
    last_hour: datetime,
) -> None:
    lost = archived.row(11, named=True)
    (part,) = platform.archive.parts(last_hour)
    file = platform.home / "archive" / part.path
    pl.read_parquet(file).filter(pl.col("event_id") != lost["event_id"]).write_parquet(file)

    found = check(realtime, instance, "raw_events", "archive_is_whole")
    assert not found.passed
    assert part.path in (found.description or "")
    assert "1 row in it that follows from it" in (found.description or "")
    assert lost["event_id"] in found.metadata["found"].value


def test_in_the_archive_when_the_whole_part_is_gone(
    platform: Any,
    realtime: dg.Definitions,
    instance: dg.DagsterInstance,
    archived: pl.DataFrame,
    last_hour: datetime,
) -> None:
    (part,) = platform.archive.parts(last_hour)
    (platform.home / "archive" / part.path).unlink()
    found = check(realtime, instance, "raw_events", "archive_is_whole")
    assert not found.passed
    assert part.path in (found.description or "")
    assert found.metadata["found"].value.count("\n") > 2


def test_in_clickhouse(
    platform: Any,
    realtime: dg.Definitions,
    batch: dg.Definitions,
    instance: dg.DagsterInstance,
    archived: pl.DataFrame,
    last_hour: datetime,
) -> None:
    lost = archived.row(3, named=True)
    platform.clickhouse.command(
        "DELETE FROM events WHERE event_id = {id:UUID}",
        parameters={"id": lost["event_id"]},
        settings={"lightweight_deletes_sync": 2},
    )
    found = check(realtime, instance, "raw_events", "stores_agree")
    assert not found.passed
    assert f"ClickHouse lacks {position(lost)}" in (found.description or "")
    assert lost["event_id"] in (found.description or "")
    assert found.metadata["findings"].value == 1

    # The live views were made before the row was deleted; a row lost from a view is seen against the sealed hour.
    key = event_hour_key(last_hour, lost["network"])
    seal = batch.resolve_job_def("seal_hours")
    assert seal.execute_in_process(instance=instance, partition_key=key).success
    platform.clickhouse.command(
        "DELETE FROM live_engagement_hour WHERE dimension = 'all' AND type = {type:String} AND network = {n:String}",
        parameters={"type": lost["type"], "n": lost["network"]},
        settings={"lightweight_deletes_sync": 2},
    )
    red = check(batch, instance, "engagement_hourly", "live_equals_sealed")
    assert not red.passed
    assert f"{lost['network']} {last_hour:%Y-%m-%d %H:%M}" in (red.description or "")


def test_a_row_that_is_sealed_twice(
    platform: Any,
    realtime: dg.Definitions,
    batch: dg.Definitions,
    instance: dg.DagsterInstance,
    archived: pl.DataFrame,
    last_hour: datetime,
) -> None:
    key = event_hour_key(last_hour, "app")
    seal = batch.resolve_job_def("seal_hours")
    assert seal.execute_in_process(instance=instance, partition_key=key).success
    doubled = archived.filter(pl.col("network") == "app").row(0, named=True)
    platform.clickhouse.command(
        "INSERT INTO connector_slices_builds SELECT * FROM connector_slices_builds WHERE event_id = {id:UUID}",
        parameters={"id": doubled["event_id"]},
    )
    found = check(batch, instance, "connector_slices", "each_event_once")
    assert not found.passed
    assert doubled["event_id"] in (found.description or "")

    # Materializing again notices that the published slice is not what was sealed, and publishes a right one.
    assert seal.execute_in_process(instance=instance, partition_key=key).success
    assert check(batch, instance, "connector_slices", "each_event_once").passed


def test_seven_planted_gaps_are_seven_found(
    platform: Any, realtime: dg.Definitions, instance: dg.DagsterInstance, make_events: Any, last_hour: datetime
) -> None:
    hours = [last_hour - timedelta(hours=back) for back in range(20, 0, -1)]
    for number, hour in enumerate(hours):
        platform.send(make_events(number, 5, hour, hour + timedelta(minutes=50)), at=hour + timedelta(minutes=55))
    planted = {hours[index] for index in (0, 3, 4, 9, 13, 14, 18)}
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    for hour in hours:
        if hour not in planted:
            archive_hour(stores, hour, datetime.now(UTC))
    found = check(realtime, instance, "raw_events", "no_gaps")
    assert not found.passed
    proposed = (found.description or "").removeprefix("materialize raw_events of ").split(", ")
    assert proposed == [ingest_hour_key(hour) for hour in sorted(planted)]
