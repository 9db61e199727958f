"""What every benchmark shares: a table of figures, each next to its target and to a limit measured in the same run.

`make bench` prints the table; TALLY_BENCH_OUT=docs/benchmarks.md also writes it. A figure below its target fails its
benchmark. TALLY_BENCH_SCALE (default 1) multiplies the rows of those that can be made larger.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.settings import Settings
from orchestration.stack import leftovers, lifecycle, servers
from orchestration.stack.plan import plan
from orchestration.stack.ports import is_free
from orchestration.stack.stores import prepare_stores

ROOT = Path(__file__).resolve().parents[2]
_BESIDE = next(ROOT.parent.glob("*/data/wikipedia_edits.json.gz"), ROOT / "no-data" / "file").parent


@dataclass(frozen=True)
class Figure:
    what: str
    value: str
    against: str
    ratio: str
    target: str
    reached: bool


@dataclass
class Figures:
    """Collects figures. A benchmark with a figure that misses its target fails, after all its figures are taken."""

    rows: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: str, *, against: str = "", ratio: str = "", target: str = "",
            reached: bool = True) -> None:  # fmt: skip
        self.rows.append(Figure(what, value, against, ratio, target, reached))


_FIGURES = Figures()


@pytest.fixture
def figures() -> Iterator[Figures]:
    before = len(_FIGURES.rows)
    yield _FIGURES
    missed = [f"{row.what}: {row.value} ({row.target})" for row in _FIGURES.rows[before:] if not row.reached]
    assert not missed, f"{len(missed)} figures miss their target: {'; '.join(missed)}"


@pytest.fixture(scope="session")
def scale() -> float:
    return float(os.environ.get("TALLY_BENCH_SCALE", "1"))


def _free_port() -> int:
    """A port below the range from which the system takes the ports of outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        if is_free(port):
            return port


@dataclass
class Stack:
    """Processes of the real stack, in a folder and on ports of their own."""

    settings: Settings

    def up(self, *names: str) -> None:
        """Start these processes with tables and topics; without names, everything as `tally up` does."""
        specs = [spec for spec in plan(self.settings) if not names or spec.name in names]
        lifecycle.up(self.settings, lambda _event: None, specs=specs, prepare=prepare_stores if names else None)

    def tally(self, *arguments: str) -> Any:
        """Run the command as a person would, and return what its --json says."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tally"), *arguments, "--json"],
            env={**os.environ, **self.settings.environment(), "NO_COLOR": "1"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Nothing runs yet; whatever the benchmark starts is ended with it.

    On embedded engines, or on those that the benchmark's parameter names; skips where the servers cannot run.
    """
    engines = getattr(request, "param", "embedded")
    if engines == "servers" and (problems := servers.missing()):
        pytest.skip("; ".join(problems))
    names = [name for name in Settings.model_fields if name.endswith("_port")]
    settings = Settings(home=tmp_path / "home", engines=engines, **{name: _free_port() for name in names})
    yield Stack(settings)
    lifecycle.down(settings, lambda _event: None)
    leftovers.end(leftovers.members(settings.home), grace=1.0)


@pytest.fixture
def real_file() -> Callable[[str], Path]:
    """The path of a real data set's file (folder: TALLY_REAL_DATA, or beside the checkout); skips where it is not."""

    def find(name: str) -> Path:
        path = Path(os.environ.get("TALLY_REAL_DATA", _BESIDE)) / name
        if not path.exists():
            pytest.skip(f"{name} is not here; TALLY_REAL_DATA may name its folder")
        return path

    return find


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


@pytest.fixture
def at_percentile() -> Callable[[list[float], float], float]:
    return percentile


def _lines() -> Iterator[str]:
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("chdb", "polars", "dagster", "confluent-kafka"))
    yield f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with `make bench` on {os.cpu_count()} cores,"
    yield f"{memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}."
    yield ""
    yield "| what | figure | against, in the same run | ratio | must reach | |"
    yield "|---|---:|---|---:|---|---|"
    for row in _FIGURES.rows:
        mark = "✓" if row.reached else "✗"
        yield f"| {row.what} | {row.value} | {row.against} | {row.ratio} | {row.target} | {mark} |"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _FIGURES.rows:
        return
    lines = list(_lines())
    terminalreporter.write_line("")
    for line in lines:
        terminalreporter.write_line(line)
    if out := os.environ.get("TALLY_BENCH_OUT"):
        Path(out).write_text("\n".join(["# Benchmarks", "", *lines, ""]))
