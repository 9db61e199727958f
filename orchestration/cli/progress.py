"""Progress on stderr: a bar on a terminal, a line now and then elsewhere.

Belongs here: display of work under way. Does not belong here: results (`output`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestration.cli.output import err
from orchestration.cli.times import duration, number

Advance = Callable[[int], None]
"""Call with how many are done in all, not since the last call."""

_LINE_SECONDS = 5.0


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show progress while the block runs. `total=None`: not known beforehand."""
    console = err()
    if not console.is_terminal:
        yield _lines(what, total, unit)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[done]}")]
    if total:
        columns += [BarColumn(), TaskProgressColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, done="")

        def advance(done: int) -> None:
            progress.update(task, completed=done, done=f"{number(done)} {unit}")

        yield advance


def _lines(what: str, total: int | None, unit: str) -> Advance:
    console, begun, last = err(), time.monotonic(), [time.monotonic()]

    def advance(done: int) -> None:
        now = time.monotonic()
        if now - last[0] >= _LINE_SECONDS:
            last[0] = now
            share = f" ({done / total:.0%})" if total else ""
            console.print(f"  {what}: {number(done)} {unit}{share} after {duration(now - begun)}", markup=False)

    return advance
