"""The API as the stack starts it: a process that answers over HTTP, is small, and ends when told."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.cli.demo_api import api_commands
from orchestration.settings import Settings
from orchestration.stack.plan import plan


def test_the_process_answers_is_small_and_ends_on_sigterm(settings: Settings, clickhouse_url: str) -> None:
    from resources.clickhouse.migrate import migrate

    migrate(clickhouse_url)
    here = settings.model_copy(update={"clickhouse_url": clickhouse_url})
    environment = {**os.environ, **here.environment()}
    spec = next(spec for spec in plan(here) if spec.name == "api")
    assert spec.ready.problem()
    process = subprocess.Popen(spec.command, env={**environment, **spec.environment})
    try:
        deadline = time.monotonic() + 90
        while (problem := spec.ready.problem()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert problem is None
        made = CliRunner().invoke(app, ["keys", "create", "--workspace", "acme", "--json"], env=environment)
        assert made.exit_code == 0, made.output
        _try_what_the_demo_prints(here)
        key = httpx.Response(200, content=made.stdout).json()["key"]
        base = f"http://127.0.0.1:{here.api_port}"
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}) as http:
            given = http.get("/v1/metrics/events", params={"from": "2026-03-02", "to": "2026-03-03"})
            assert (given.status_code, len(given.json()["rows"])) == (200, 24)
            assert http.get("/v1/trends").json()["known"] is False
        found = psutil.Process(process.pid)
        assert not [place.path for place in found.memory_maps() if "chdb" in place.path]
        assert found.memory_full_info().pss < 170 * 1024**2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def _try_what_the_demo_prints(settings: Settings) -> None:
    """Every line as it is, in one shell, as whoever has pasted them."""
    lines = api_commands(settings, datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "-euc", "\necho ---\n".join(lines)],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert shell.returncode == 0, shell.stderr
    _, rest, graphql, rows = shell.stdout.split("---")
    assert json.loads(rest)["metric"] == "events"
    assert json.loads(graphql)["data"]["metric"]["rows"] == []
    assert [row["value"] for row in ast.literal_eval(rows.strip())] == [0, 0]


def test_the_process_does_without_dagster() -> None:
    code = (
        "import sys, orchestration.api, orchestration.cli.app;"
        "print(sorted(m for m in sys.modules if m in {'dagster', 'chdb', 'dbt', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_keys_are_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    environment = {"TALLY_HOME": str(tmp_path)}

    def tally(*arguments: str) -> object:
        done = CliRunner().invoke(app, ["keys", *arguments, "--json"], env=environment)
        assert done.exit_code == 0, done.output
        return httpx.Response(200, content=done.stdout).json()

    made = tally("create", "--workspace", "acme", "--role", "admin", "--expires", "90d", "--name", "ci")
    assert isinstance(made, dict)
    assert datetime.fromisoformat(made["expires_at"]) > datetime.now(UTC)
    new = tally("rotate", made["id"], "--overlap", "1h")
    assert isinstance(new, dict)
    tally("revoke", new["id"])
    listed = tally("list", "--workspace", "acme")
    assert isinstance(listed, list)
    assert [(key["id"], key["state"]) for key in listed] == [(made["id"], "replaced"), (new["id"], "revoked")]
    changes = tally("log")
    assert isinstance(changes, list)
    assert [each["action"] for each in changes] == ["workspace.created", "key.created", "key.rotated", "key.revoked"]
    wrong = CliRunner().invoke(app, ["keys", "revoke", "ffffffffffff"], env=environment)
    assert wrong.exit_code == 2
    assert "ffffffffffff" in wrong.output
    shown = CliRunner().invoke(app, ["keys", "list"], env=environment)
    assert made["key"] not in shown.output
