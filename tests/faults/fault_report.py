"""One line per fault: what was done how often, what was lost or doubled, how long it took to be well again.

Belongs here: collecting the lines from all test processes, printing them at the end, writing them into
docs/reliability.md when TALLY_FAULTS_OUT names it. Does not belong here: faults.

`tests/servers/conftest.py` imports the hook; a test reports with `report(record_property, Line(…))`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
_PROPERTY = "fault"


@dataclass(frozen=True, slots=True)
class Line:
    """`recovery`: seconds from the restart (or the end of the pause) to the first new row that was acknowledged and
    visible, the slowest of the runs; None where nothing had to recover."""

    fault: str
    runs: int
    rows: int
    lost: int
    doubled: int
    recovery: float | None = None
    note: str = ""


def report(record_property: Callable[[str, object], None], line: Line) -> None:
    record_property(_PROPERTY, asdict(line))


def table(lines: Iterable[Line]) -> str:
    head = (
        "| fault | runs | rows sent meanwhile | lost | doubled | recovery, slowest | |\n|---|--:|--:|--:|--:|--:|---|\n"
    )
    return head + "".join(
        f"| {line.fault} | {line.runs} | {line.rows:,} | {line.lost} | {line.doubled} |"
        f" {'' if line.recovery is None else f'{line.recovery:.1f} s'} | {line.note} |\n"
        for line in lines
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [
        Line(**value)
        for reports in terminalreporter.stats.values()
        for each in reports
        if getattr(each, "when", "") == "call"
        for name, value in each.user_properties
        if name == _PROPERTY
    ]
    if not lines:
        return
    terminalreporter.section("faults")
    terminalreporter.write(table(lines))
    if target := os.environ.get("TALLY_FAULTS_OUT"):
        _write(Path(target), lines)


def _write(target: Path, lines: list[Line]) -> None:
    """Replace what stands between the two markers of the page."""
    text = target.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    when = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}"
    target.write_text(f"{before}{BEGIN}\nMeasured {when}.\n\n{table(lines)}{END}{after}", encoding="utf-8")
