"""A whole stack on servers, used as a person uses it: the `tally` command line and HTTP.

Belongs here: starting and asking one. Does not belong here: what it must do (the tests).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from deploy.servers.ports import free_port

_PORTS = (
    *("clickhouse", "redis", "collector", "api", "dagster", "realtime_grpc", "batch_grpc"),
    *("kafka", "kafka_controller", "mongodb", "s3", "postgresql"),
)


class Stack:
    """A stack on servers in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.ports = {name: free_port() for name in _PORTS}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TALLY_", "AWS_"))}
        self._environment = {
            **clean,
            "NO_COLOR": "1",
            "TALLY_HOME": str(home),
            **{f"TALLY_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }
        self.home = home

    def tally(self, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *arguments, "--json"],
            env=self._environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def post(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        answer = httpx.post(
            f"http://127.0.0.1:{self.ports['collector']}/v1/events",
            json=rows,
            headers={"Authorization": "Bearer demo-write-key"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


def wait_until_read(stack: Stack, messages: int) -> None:
    """Until both groups have stored everything."""
    deadline = time.monotonic() + 120
    while True:
        lag = {each["group"]: (each["messages"], each["processed"]) for each in stack.tally("status")["lag"]}
        if lag == {"raw": (0, messages), "live": (0, messages)}:
            return
        assert time.monotonic() < deadline, lag
        time.sleep(0.5)
