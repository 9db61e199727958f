"""The shipped instance files are valid for the installed Dagster, and say what the design promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef

FILES = Path(__file__).parents[2] / "deploy" / "dagster"


def valid(name: str, folder: Path) -> dict[str, object]:
    """What Dagster makes of the file; raises when a key or value is not of its schema."""
    (folder / "dagster.yaml").write_text((FILES / name).read_text())
    config, _ = dagster_instance_config(str(folder))
    return dict(config)


@pytest.mark.parametrize("name", ["dagster.yaml", "dagster.postgres.yaml", "dagster.kubernetes.yaml"])
def test_dagster_accepts_the_file(name: str, tmp_path: Path) -> None:
    config = valid(name, tmp_path)
    assert config["telemetry"] == {"enabled": False}
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.settings["sensors"]["use_threads"] is True
    queue = yaml.safe_load((FILES / name).read_text())["run_queue"]
    assert queue["dequeue_interval_seconds"] == 1


def test_postgres_names_its_driver_and_takes_secrets_from_the_environment(tmp_path: Path) -> None:
    for name in ("dagster.postgres.yaml", "dagster.kubernetes.yaml"):
        database = yaml.safe_load((FILES / name).read_text())["storage"]["postgres"]["postgres_db"]
        assert database["scheme"] == "postgresql+psycopg2"
        assert database["password"] == {"env": "DAGSTER_POSTGRES_PASSWORD"}


def test_the_kubernetes_launcher_takes_its_config(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher

    monkeypatch.setenv("TALLY_NAMESPACE", "tally")
    monkeypatch.setenv("TALLY_IMAGE", "tally:1")
    given = yaml.safe_load((FILES / "dagster.kubernetes.yaml").read_text())["run_launcher"]["config"]
    result = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), given)
    assert result.success, result.errors


def test_the_local_instance_opens_and_keeps_one_archive_writer(tmp_path: Path) -> None:
    import dagster as dg

    (tmp_path / "dagster.yaml").write_text((FILES / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_coordinator.__class__.__name__ == "QueuedRunCoordinator"
        assert instance.global_op_concurrency_default_limit == 1
        assert instance.get_tick_retention_settings(dg._core.scheduler.instigation.InstigatorType.SENSOR)
