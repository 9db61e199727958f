"""The dbt project as assets: staging views over published builds, and marts made from the metric catalogue.

Belongs here: the translation of dbt's nodes, and its manifest. Does not belong here: SQL (`dbt_project`).

Importing this costs a second and a half (dagster_dbt): only the batch location does, when it builds its definitions.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, DbtProject, dbt_assets

from resources.dagster_resources import ClickHouseResource

PROJECT_DIR = Path(__file__).resolve().parent.parent / "dbt_project"

_SOURCES = {
    "connector_slices_builds": dg.AssetKey("connector_slices"),
    "engagement_hourly_builds": dg.AssetKey("engagement_hourly"),
    "engagement_daily_builds": dg.AssetKey("engagement_daily"),
    "sessions_builds": dg.AssetKey("sessions"),
    "events": dg.AssetKey(["live", "events"]),
    "live_engagement_minute": dg.AssetKey(["live", "engagement_minute"]),
    "live_engagement_hour": dg.AssetKey(["live", "engagement_hour"]),
}


class Translator(DagsterDbtTranslator):
    """dbt's sources are the tables that our assets and the live path write; its models get our groups and owners."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`marts/<model>`, `staging/<model>`; a source table is the asset that writes it."""
        name = dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] == "source":
            return _SOURCES.get(name, dg.AssetKey(["tally", name]))
        return dg.AssetKey([_layer(dbt_resource_props), name])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The layer."""
        return _layer(dbt_resource_props)

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Analysts own the marts."""
        return ["team:analytics"]

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> dict[str, str]:
        """Layer and domain, as on every other asset."""
        return {"layer": _layer(dbt_resource_props), "domain": "engagement"}


@cache
def build_dbt_assets(target_dir: Path | None = None) -> tuple[dg.AssetsDefinition, DbtCliResource]:
    """The dbt assets and the resource that runs dbt, once per process.

    Parses the project when its manifest is missing or stale.
    """
    project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR, target_path=_target(target_dir))
    prepare_manifest(project)

    @dbt_assets(
        name="dbt_marts",
        manifest=project.manifest_path,
        project=project,
        dagster_dbt_translator=Translator(DagsterDbtTranslatorSettings(enable_asset_checks=True)),
        pool="clickhouse_write",
        retry_policy=dg.RetryPolicy(max_retries=1, delay=10),
    )
    def dbt_marts(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, clickhouse: ClickHouseResource
    ) -> Iterator[Any]:
        """Build the selected models and run their tests; every test is an asset check."""
        # dbt is a process of its own and reads its profile's URL from the environment, which this run's shares.
        os.environ["TALLY_CLICKHOUSE_URL"] = clickhouse.url
        yield from dbt.cli(["build"], context=context).stream().fetch_row_counts()

    return dbt_marts, DbtCliResource(project_dir=project, dbt_executable=_executable())


def prepare_manifest(project: DbtProject) -> bool:
    """Run `dbt parse` when the manifest is missing or older than any file of the project; return whether it ran.

    Raises RuntimeError with dbt's own words when the project does not parse.
    """
    manifest = project.manifest_path
    files = [path for folder in ("models", "macros", "tests", "docs") for path in (PROJECT_DIR / folder).rglob("*.*")]
    newest = max(path.stat().st_mtime for path in [*files, PROJECT_DIR / "dbt_project.yml"])
    if manifest.exists() and manifest.stat().st_mtime >= newest:
        return False
    command = [_executable(), "parse", "--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR)]
    command += ["--target-path", str(project.project_dir / project.target_path), "--log-path", str(manifest.parent)]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"dbt parse failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return True


def _layer(props: Mapping[str, Any]) -> str:
    path = props.get("fqn") or ["", "marts"]
    return "staging" if "staging" in path else "marts"


def _target(given: Path | None) -> Path:
    return given or Path(os.environ.get("TALLY_DBT_TARGET") or PROJECT_DIR / "target")


def _executable() -> str:
    beside = Path(sys.executable).parent / "dbt"
    return str(beside) if beside.exists() else shutil.which("dbt") or "dbt"
