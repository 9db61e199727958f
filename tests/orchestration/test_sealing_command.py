"""`seal(settings, …)`, as the command line calls it: recorded in Dagster, honest about what it could not do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.partitions import HOUR, event_hour_key, hour_start
from orchestration.instance import open_instance
from orchestration.sealing import SUMMARY_SCHEMA, seal, summarise
from orchestration.settings import Settings

ALL_TIME = (datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def settings(platform: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Settings(home=platform.home, clickhouse_url=platform.clickhouse_url)


def hide(platform: Any, network: str) -> Callable[[], None]:
    """Rename a part that holds this network's rows; the answer brings it back."""
    for part in platform.archive.parts():
        if any(of == network for _, of in part.contents):
            file: Path = platform.home / "archive" / part.path
            file.rename(file.with_suffix(".away"))
            return lambda: file.with_suffix(".away").rename(file) and None
    raise AssertionError(f"no part holds {network}")


def test_history_and_today_in_one_run_recorded_on_the_assets(
    platform: Any, settings: Settings, make_events: Any
) -> None:
    today = hour_start(datetime.now(UTC)) - 3 * HOUR
    platform.send(make_events(1, 90, datetime(2012, 7, 1, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC)))
    platform.send(make_events(2, 30, today, today + HOUR, networks=("app",)))
    told: list[str] = []
    sealed = seal(settings, *ALL_TIME, None, "seal", told.append)
    summary = summarise(sealed)
    assert summary.schema == pl.Schema(SUMMARY_SCHEMA)
    by_dataset = {row["dataset"]: row for row in summary.to_dicts()}
    assert by_dataset["raw_events"]["events"] == 120
    assert by_dataset["connector_slices"]["events"] == by_dataset["engagement_hourly"]["events"] == 120
    assert by_dataset["engagement_daily"]["events"] == 90, "today is not over"
    assert any(line.startswith("hours:") for line in told)

    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert run.tags["tally/started_by"] == "command line"
        squares = instance.get_materialized_partitions(dg.AssetKey("engagement_hourly"))
        assert squares == {str(event_hour_key(today, "app"))}, "hours before the grid have no square"
        newest = instance.get_latest_materialization_event(dg.AssetKey("engagement_hourly"))
        assert newest is not None
        materialization = newest.asset_materialization
        assert materialization is not None
        assert materialization.metadata["events"].value == 120
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("engagement_hourly"), "live_equals_sealed"), limit=1
        )
        assert records[0].status.value == "SUCCEEDED"


def test_what_was_published_without_a_mark_is_marked_when_sealed_again(
    platform: Any, settings: Settings, make_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is for a network whose mapping is put into contracts/networks after its first hours were sealed."""
    start = hour_start(datetime.now(UTC)) - 3 * HOUR
    platform.send(make_events(1, 20, start, start + HOUR, networks=("shop",)))
    told: list[str] = []
    seal(settings, start, start + HOUR, on_progress=told.append)
    assert any("'shop' is sealed, but Dagster shows no squares" in line for line in told)
    for module in ("assets.networks", "orchestration.marks"):
        monkeypatch.setattr(f"{module}.NETWORKS", ("app", "shop"))
    marks = []
    for _ in range(2):
        told.clear()
        assert seal(settings, start, start + HOUR, ["shop"], on_progress=told.append).reports == ()
        marks.append([line for line in told if line.startswith("marked ")])
    assert [len(lines) for lines in marks] == [1, 0], "once, not again"
    with open_instance(settings) as instance:
        for name in ("connector_slices", "engagement_hourly"):
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {str(event_hour_key(start, "shop"))}


def test_one_broken_source_fails_alone_and_is_named(platform: Any, settings: Settings, make_events: Any) -> None:
    start = hour_start(datetime.now(UTC)) - 5 * HOUR
    platform.send(make_events(1, 40, start, start + HOUR, networks=("app",)))
    seal(settings, start - HOUR, start)  # archives, seals nothing
    platform.send(make_events(2, 40, start, start + HOUR, networks=("sim",)))
    seal(settings, start - HOUR, start)
    bring_back = hide(platform, "sim")

    sealed = seal(settings, start, start + HOUR)
    assert {network for _, _, network in sealed.failed} == {"sim"}
    assert "the object of a part is gone" in next(iter(sealed.failed.values()))
    assert {tuple(row) for row in sealed.reports[0].published.select("network").iter_rows()} == {("app",)}
    with open_instance(settings) as instance:
        assert instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.FAILURE

    bring_back()
    healed = seal(settings, start, start + HOUR)
    assert healed.failed == {}
    assert healed.reports[0].published["network"].to_list() == ["sim"]


def test_hours_that_are_not_over_are_told_and_left(platform: Any, settings: Settings, make_events: Any) -> None:
    current = hour_start(datetime.now(UTC))
    platform.send(make_events(1, 10, current, current + timedelta(seconds=1), networks=("app",)))
    sealed = seal(settings, current - HOUR, current + HOUR)
    assert sealed.reports == ()
    assert sealed.incomplete.rows() == [(current, "app")]


def test_a_store_that_is_down_is_named(settings: Settings) -> None:
    from resources.clickhouse import ClickHouseUnavailableError

    nowhere = settings.model_copy(update={"clickhouse_url": "http://127.0.0.1:1/tally"})
    with pytest.raises(ClickHouseUnavailableError, match=r"127\.0\.0\.1:1"):
        seal(nowhere, *ALL_TIME)
