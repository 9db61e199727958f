"""What every benchmark shares: a table of figures, each next to its target and to a limit measured in the same run.

`make bench` prints the table; TALLY_BENCH_OUT=docs/benchmarks.md also writes it. A figure below its target fails its
benchmark. TALLY_BENCH_SCALE (default 1) multiplies the rows of those that can be made larger.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest


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
    """Collects figures; `add` raises nothing, `check` fails the benchmark when the figure misses its target."""

    rows: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: str, *, against: str = "", ratio: str = "", target: str = "",
            reached: bool = True) -> None:  # fmt: skip
        self.rows.append(Figure(what, value, against, ratio, target, reached))
        assert reached, f"{what}: {value} {ratio} misses its target: {target}"


_FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    return _FIGURES


@pytest.fixture(scope="session")
def scale() -> float:
    return float(os.environ.get("TALLY_BENCH_SCALE", "1"))


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
