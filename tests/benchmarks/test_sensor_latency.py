"""From an append to the event log to the materialised ingest hour: the stack's Dagster against stock settings.

The same log, workers and definitions. The stack: its own code server and a sensor that holds its tick, the daemon with
deploy/dagster/dagster.yaml. Stock: an empty dagster.yaml, code loaded by the daemon, a sensor that looks and returns.
Both may look every second; the sensor's own pause (TALLY_SENSOR_INTERVAL_SECONDS, 10 in a stack) spaces runs under a
steady stream and is no part of how fast Dagster notices. Batches come at random moments after the run before has ended.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from contracts.mapping import load_mapping
from orchestration.settings import PROJECT_ROOT
from orchestration.stack.paths import StackPaths
from orchestration.stack.supervisord import Supervisor
from resources.event_log import open_event_log
from resources.event_log.base import EventLog, OffsetRange
from streaming.intake import Submission, admit
from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, deliver

BATCHES = 12
PAUSE = (0.2, 4.0)
DAGSTER = ("code-realtime", "code-batch", "dagster-webserver", "dagster-daemon")


def _append(log: EventLog, number: int) -> list[OffsetRange]:
    network = SimulatedNetwork(SimulationConfig(rate=50, steady=True, seed=number))
    rows = deliver(network.window(int(time.time()) // 10), FaultRates(0, 0, 0), number, number).rows[:200]
    return admit(Submission(rows, load_mapping("tally"), "demo", datetime.now(UTC), "bench"), log).positions


def _materialised(instance: dg.DagsterInstance, places: list[OffsetRange], timeout: float = 90) -> float:
    """Wait until materialisations of raw_events cover these positions; return when the last of them was."""
    left = list(places)
    newest = 0.0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for record in instance.fetch_materializations(dg.AssetKey("raw_events"), limit=5).records:
            assert record.asset_materialization is not None
            done: Any = record.asset_materialization.metadata["offset_ranges"].value
            covered = [
                place
                for place in left
                if any(
                    (each["topic"], each["partition"]) == (place.topic, place.partition)
                    and each["start"] <= place.start
                    and each["end"] >= place.end
                    for each in done
                )
            ]
            if covered:
                newest = max(newest, record.timestamp)
                left = [place for place in left if place not in covered]
        if not left:
            return newest
        time.sleep(0.05)
    raise AssertionError(f"not materialised after {timeout:.0f} s: {left}")


def _measure(stack: Any, home: Path) -> list[float]:
    """Seconds from append to materialisation of batches at random moments, in the Dagster instance of that home."""
    log = open_event_log(stack.settings.event_log_url)
    chance = random.Random(1)
    times = []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        _materialised(instance, _append(log, 0))  # the first run of a fresh instance
        for number in range(1, BATCHES + 1):
            time.sleep(chance.uniform(*PAUSE))
            began = time.time()
            times.append(_materialised(instance, _append(log, number)) - began)
    log.close()
    return times


@contextmanager
def _stock_daemon(stack: Any, home: Path) -> Iterator[None]:
    """Dagster's daemon as it comes, loading the realtime location itself."""
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {
        **os.environ, **stack.settings.environment(), "DAGSTER_HOME": str(home),
        "TALLY_LONG_POLL_SECONDS": "0", "TALLY_AUTOMATION": "on",
    }  # fmt: skip
    with (home / "daemon.log").open("wb") as output:
        daemon = subprocess.Popen(
            [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-m", "orchestration.realtime"],
            env=environment, cwd=PROJECT_ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield
        finally:
            daemon.terminate()
            daemon.wait(30)


def test_append_to_materialised(
    stack: Any,
    figures: Any,
    at_percentile: Callable[[list[float], float], float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TALLY_SENSOR_INTERVAL_SECONDS", "1")
    stack.up()
    ours = _measure(stack, stack.settings.dagster_home)
    supervisor = Supervisor(StackPaths(stack.settings.home))
    for name in DAGSTER:
        supervisor.stop(name)
    while not all(supervisor.states()[name].gone for name in DAGSTER):
        time.sleep(0.1)
    with _stock_daemon(stack, tmp_path / "stock"):
        stock = _measure(stack, tmp_path / "stock")

    def told(times: list[float]) -> str:
        return f"p50 {at_percentile(times, 0.5):.1f}, p95 {at_percentile(times, 0.95):.1f}, max {max(times):.1f} s"

    most = at_percentile(ours, 0.95)
    figures.add(
        f"append → materialised `raw_events`, {len(ours)} batches",
        told(ours),
        against=f"stock Dagster: {told(stock)}",
        ratio=f"{at_percentile(stock, 0.95) / most:.1f} x faster",
        target="p95 under 3 s",
        reached=most < 3,
    )
