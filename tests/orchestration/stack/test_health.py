"""When is a process ready? Asked of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.stack.health import LocationsReady
from tests.orchestration.stack.conftest import free_port


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_code_location_that_does_not_load_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    (tmp_path / "bad.py").write_text("raise ValueError('no formula for metric likes')\n")
    lines = ["load_from:", "- python_file: {relative_path: good.py}", "- python_file: {relative_path: bad.py}"]
    (tmp_path / "workspace.yaml").write_text("\n".join(lines))
    port = free_port()
    check = LocationsReady("127.0.0.1", port)
    assert "does not answer yet" in str(check.problem())
    program = str(Path(sys.executable).parent / "dagster-webserver")
    webserver = subprocess.Popen(
        [program, "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 200
        problem = check.problem()
        while problem and "cannot be loaded" not in problem and time.monotonic() < deadline:
            time.sleep(0.2)
            problem = check.problem()
        assert problem is not None
        assert "code location bad.py cannot be loaded: " in problem
        assert "no formula for metric likes" in problem
        assert "good.py" not in problem
    finally:
        webserver.terminate()
        webserver.wait(30)
