"""The graph as a reviewable file, complete descriptions, and code locations that load fast and stay lean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.assembly import build_definitions

SNAPSHOT = Path(__file__).with_name("definitions_snapshot.json")
DBT_GROUPS = {"staging", "marts"}
"""Models come and go with dbt_project, which has its own tests."""

HEAVY = ("chdb", "dagster_dbt", "dbt", "duckdb", "pymongo", "confluent_kafka", "obstore", "starlette", "pytest")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions("all", automation=False)


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Keys, deps, groups, owners, kinds, checks; jobs with their tags; schedules; sensors."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        if node.group_name in DBT_GROUPS:
            continue
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "owners": sorted(node.owners),
            "kinds": sorted(node.kinds),
            "partitions": str(node.partitions_def.__class__.__name__) if node.partitions_def else None,
            "checks": sorted(check.name for check in node.check_keys),
            "materializable": node.is_materializable,
        }
    jobs = {
        name: {"tags": dict(sorted(job.tags.items())), "executor": job.executor_def.name}
        for name in sorted(repository.job_names)
        if not name.startswith("__")
        for job in [repository.get_job(name)]
    }
    schedules = {
        schedule.name: [schedule.job_name, str(schedule.cron_schedule), schedule.execution_timezone]
        for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
    }
    sensors = {
        sensor.name: [target.job_name for target in sensor.targets]
        for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
    }
    return {"assets": assets, "jobs": jobs, "schedules": schedules, "sensors": sensors}


def test_the_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    found = json.dumps(describe(definitions), indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(found)
    assert found == SNAPSHOT.read_text(), "meant? run again with UPDATE_SNAPSHOTS=1 and review the difference"


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = definitions.get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if not node.is_materializable and not node.metadata:
            continue  # a dbt source table that has no asset of ours
        name = key.to_user_string()
        assert node.description, f"{name} has no description"
        assert node.owners, f"{name} has no owner"
        assert node.kinds, f"{name} has no kind"
        assert node.group_name not in {None, "default"}, f"{name} has no group"
        assert {"layer", "domain"} <= set(node.tags), f"{name} lacks the tags layer and domain"
        assert "dagster/column_schema" in node.metadata, f"{name} has no column schema"
        assert "dagster/table_name" in node.metadata, f"{name} has no table name"
        if node.is_materializable:
            assert node.code_version, f"{name} has no code version"
        schema = node.metadata["dagster/column_schema"]
        columns = getattr(schema, "value", schema).columns
        if node.group_name not in DBT_GROUPS:
            assert all(column.description and column.type for column in columns), f"{name}: a column is not described"
            if node.is_materializable:
                assert "dagster/uri" in node.metadata, f"{name} has no uri"
                assert "docs" in node.metadata, f"{name} has no link"


def test_lineage_runs_from_every_topic_to_the_marts(definitions: dg.Definitions) -> None:
    graph = definitions.get_repository_def().asset_graph
    reached = {dg.AssetKey(["event_log", "content_events"])}
    frontier = list(reached)
    while frontier:
        for child in graph.get(frontier.pop()).child_keys - reached:
            reached.add(child)
            frontier.append(child)
    names = {key.to_user_string() for key in reached}
    assert {"raw_events", "connector_slices", "engagement_hourly", "engagement_daily", "live/engagement_hour"} <= names
    assert any(name.startswith("marts/") for name in names)


def test_every_check_and_schedule_says_what_to_do(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    for check in graph.asset_check_keys:
        node = graph.get(check)
        if graph.get(check.asset_key).group_name not in DBT_GROUPS:
            assert "When it fails" in (node.description or ""), f"check {check.name} does not say what to do"
    for automation in (*repository.schedule_defs, *repository.sensor_defs):
        assert automation.description, f"{automation.name} has no description"


def test_nothing_starts_by_itself_outside_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.assembly import automation_on

    monkeypatch.delenv("TALLY_AUTOMATION", raising=False)
    assert not automation_on()
    monkeypatch.setenv("TALLY_AUTOMATION", "on")
    assert automation_on()
    for running in (False, True):
        repository = build_definitions("realtime", automation=running).get_repository_def()
        states = {str(s.default_status.value) for s in (*repository.sensor_defs, *repository.schedule_defs)}
        assert states == {"RUNNING" if running else "STOPPED"}


def test_a_password_in_a_url_is_not_in_the_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", "http://tally:s3cret@ch.example:8123/tally")
    monkeypatch.setenv("TALLY_RAW_STORE_URL", "mongodb://tally:s3cret@mongo.example/tally")
    repository = build_definitions("realtime", automation=False).get_repository_def()
    named = repository.get_env_vars_by_top_level_resource()
    assert {"TALLY_CLICKHOUSE_URL", "TALLY_RAW_STORE_URL"} <= set(named), "the UI shows the variable's name"
    shown = [(name, definition.config_schema.default_value) for name, definition in resources_of(repository).items()]
    assert "s3cret" not in repr(shown)


def resources_of(repository: dg.RepositoryDefinition) -> dict[str, Any]:
    return {name: resource for name, resource in repository.get_top_level_resources().items() if name != "io_manager"}


@pytest.mark.parametrize("location", ["realtime", "batch"])
def test_each_location_loads_in_a_fresh_interpreter(location: str, tmp_path: Path) -> None:
    code = (
        "import sys, time; began = time.process_time(); "
        f"import orchestration.{location} as it; it.defs.get_repository_def(); "
        "print(time.process_time() - began); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "TALLY_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seconds, heavy = done.stdout.strip().splitlines()[-2:]
    assert not (tmp_path / "home").exists(), "loading definitions opens no store"
    if location == "realtime":
        assert heavy == "[]", "every run of the stream would pay for it"
        assert float(seconds) < 4, "CPU seconds; about 1.3 on a quiet machine"
    else:
        assert "chdb" not in heavy
