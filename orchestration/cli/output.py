"""What commands print: tables and lines for people, JSON for programs.

Belongs here: the consoles, tables, JSON encoding. Does not belong here: what a command has to say.

Results go to stdout, progress and errors to stderr. With `--json`, stdout holds one JSON document and nothing else.
Colours appear on a terminal only, and never when NO_COLOR is set (rich keeps that rule).
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from orchestration.cli.times import utc

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.", show_default=False)
]
PLAIN_WIDTH = 160
"""Width of a table that goes into a file or a pipe, where no terminal tells one."""


def out() -> Console:
    """Console of results (stdout). Made per call: tests and pipes exchange sys.stdout."""
    return _console(sys.stdout)


def err() -> Console:
    """Console of progress and errors (stderr)."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    from rich.console import Console

    class PipeConsole(Console):
        """rich ends the process with exit code 1 when the reader (head, less) has seen enough; that is no failure."""

        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich calls this where it handles the BrokenPipeError, which `cli.app` knows

    is_terminal = file.isatty()
    width = None if is_terminal else PLAIN_WIDTH
    return PipeConsole(file=file, highlight=False, soft_wrap=not is_terminal, width=width)


@contextmanager
def run_log_aside(path: Path) -> Iterator[None]:
    """Send what Dagster prints about a run in this process into a file: the run's log is in its UI, not on the console.

    Logging must not be switched off instead: Dagster's event log is fed by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, redirect_stderr(file):
        yield


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """Build a table; columns named in `right` hold numbers and align right. Cells are text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    built = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        built.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        built.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return built


def fitting(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> object:
    """Build a table, or where it would be wider than the console a record per row: a line per column."""
    from rich.cells import cell_len
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    texts = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(cell_len(line) for text in (name, *column) for line in text.split("\n"))
        for name, column in zip(columns, zip(*texts, strict=True), strict=True)
    ] if texts else [0]  # fmt: skip
    if sum(widths) + 3 * len(widths) <= out().width:
        return table(title, columns, rows, right)
    records: list[object] = [Text(title, style="bold")] if title else []
    for number, row in enumerate(texts, start=1):
        record = Table.grid(padding=(0, 2))
        record.add_column(no_wrap=True)
        record.add_column(overflow="fold")
        for name, text in zip(columns, row, strict=True):
            record.add_row(Text(name, style="cyan"), Text(text))
        records += [Text(f"── row {number:,} ──", style="dim"), record]
    return Group(*records)  # type: ignore[arg-type]  # Text, Table and Group are all renderable


def good(text: str) -> object:
    return _styled(text, "green")


def warn(text: str) -> object:
    return _styled(text, "yellow")


def bad(text: str) -> object:
    return _styled(text, "bold red")


def _styled(text: str, style: str) -> object:
    from rich.text import Text

    return Text(text, style=style)


def print_json(document: object) -> None:
    """Write one JSON document to stdout: times as ISO 8601 in UTC, dataclasses as objects."""
    sys.stdout.write(json.dumps(plain(document), ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def plain(value: object) -> object:
    """Reduce to what JSON has. Bytes become text with replacement characters; sets and tuples become arrays."""
    result: object = str(value)
    if value is None or isinstance(value, bool | int | str):
        result = value
    elif isinstance(value, float):
        result = value if math.isfinite(value) else None
    elif isinstance(value, datetime):
        result = utc(value).isoformat().replace("+00:00", "Z")
    elif isinstance(value, date):
        result = value.isoformat()
    elif isinstance(value, Enum):
        result = plain(value.value)
    elif isinstance(value, bytes):
        result = value.decode("utf-8", errors="replace")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        result = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        result = {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        result = {name: plain(item) for name, item in value._asdict().items()}
    elif isinstance(value, Iterable) and not isinstance(value, Path):
        result = [plain(item) for item in value]
    return result
