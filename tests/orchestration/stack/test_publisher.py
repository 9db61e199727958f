"""The publisher as the stack starts it: a process that says it is ready, is small, and ends when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

from orchestration.settings import Settings
from orchestration.stack.paths import StackPaths
from orchestration.stack.plan import plan
from streaming.worker.stats import read_stats


def test_the_process_is_small_reports_itself_and_ends_on_sigterm(settings: Settings) -> None:
    spec = next(spec for spec in plan(settings) if spec.name == "publisher")
    assert spec.ready.problem() == "it has not reported yet"
    process = subprocess.Popen(spec.command, env={**os.environ, **settings.environment(), **spec.environment})
    try:
        deadline = time.monotonic() + 90
        while (problem := spec.ready.problem()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert problem is None  # also while its stores are down, as here
        maps = {place.path for place in psutil.Process(process.pid).memory_maps()}
        assert not [path for path in maps if "chdb" in path]
        assert psutil.Process(process.pid).memory_info().rss < 170 * 1024**2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    report = read_stats(StackPaths(settings.home).publisher_stats)
    assert report is not None
    assert report["state"] == "stopped"


def test_the_process_does_without_dagster() -> None:
    code = (
        "import sys; from orchestration.publisher import publisher_tasks; from orchestration.settings import Settings;"
        "publisher_tasks(Settings()); print(sorted(m for m in sys.modules if m in {'dagster', 'chdb', 'dbt'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
