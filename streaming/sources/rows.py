"""Blocks of bytes → chunks of rows, as the mapping's format says: NDJSON, CSV with a header, separated text.

Belongs here: finding where rows end. Does not belong here: what their fields mean (`contracts.mapping`).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from contracts.mapping_model import MappingSpec
from contracts.reading import split_lines
from contracts.rejects import MAX_ROW_BYTES, Reject, shorten
from streaming.sources.errors import SourceError

_MAX_LINE_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Chunk:
    """Rows `first_row`, `first_row + 1`, … of a file. Of a table, rows whose shape is wrong are in `misshapen`.

    `row_numbers` names the rows of a table one by one when some of them are misshapen.
    """

    rows: list[bytes] | pl.DataFrame
    first_row: int
    count: int
    misshapen: list[Reject] = field(default_factory=list)
    row_numbers: list[int] | None = None


def read_chunks(path: Path, blocks: Iterable[bytes], spec: MappingSpec, chunk_rows: int) -> Iterator[Chunk]:
    """Cut a file into chunks of at most `chunk_rows` rows. Raises SourceError: no header, an endless line."""
    lines = _lines(path, blocks)
    if spec.format == "ndjson":
        yield from _line_chunks(path, lines, chunk_rows)
    else:
        yield from _table_chunks(path, lines, spec, chunk_rows)


def _lines(path: Path, blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield groups of whole lines, without line ends."""
    rest = b""
    number = 0
    for block in blocks:
        data = rest + block
        end = data.rfind(b"\n")
        if end < 0:
            rest = data
            if len(rest) > _MAX_LINE_BYTES:
                raise SourceError(
                    f"{path}: row {number + 1} is longer than {_MAX_LINE_BYTES:,} bytes; is it a text file?"
                )
            continue
        rest = data[end + 1 :]
        group = split_lines(data[: end + 1])
        if number == 0:
            group[0] = group[0].removeprefix(_BOM)
        number += len(group)
        yield group
    if rest:
        yield split_lines(rest)


def _line_chunks(path: Path, groups: Iterator[list[bytes]], chunk_rows: int) -> Iterator[Chunk]:
    waiting: list[bytes] = []
    first_row = 1
    for group in groups:
        if first_row == 1 and not waiting and group[0].lstrip()[:1] == b"[":
            raise SourceError(f"{path}: row 1 begins a JSON array; one JSON object per line (NDJSON) is read")
        waiting += group
        while len(waiting) >= chunk_rows:
            yield Chunk(waiting[:chunk_rows], first_row, chunk_rows)
            first_row += chunk_rows
            waiting = waiting[chunk_rows:]
    if waiting:
        yield Chunk(waiting, first_row, len(waiting))


def _table_chunks(path: Path, groups: Iterator[list[bytes]], spec: MappingSpec, chunk_rows: int) -> Iterator[Chunk]:
    text = (line.decode("utf-8", "surrogateescape") + "\n" for group in groups for line in group)
    if spec.format == "csv":
        reader = csv.reader(text, delimiter=spec.separator, strict=False)
        header = next(reader, None)
        if not header:
            raise SourceError(f"{path}: row 1 holds no header")
    else:
        # A quote in separated text is a character like any other; several separators in a row count as one.
        reader = csv.reader(text, delimiter=spec.separator, quoting=csv.QUOTE_NONE, skipinitialspace=True)
        header = list(spec.columns)
    if header[0].lstrip().startswith("{"):
        raise SourceError(f"{path}: row 1 is a JSON object, not a header; mapping {spec.name!r} reads {spec.format}")
    columns = [name.strip().encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in header]
    if len(set(columns)) != len(columns):
        raise SourceError(f"{path}: the header names a column twice: {', '.join(_twice(columns))}")
    first_row = 1
    cells: list[list[str]] = []
    while True:
        try:
            for row in reader:
                cells.append(row)
                if len(cells) == chunk_rows:
                    break
            else:
                break
        except csv.Error as error:
            raise SourceError(f"{path}: row {first_row + len(cells)} cannot be read as CSV: {error}") from error
        yield _table(cells, columns, spec.separator, first_row)
        first_row += len(cells)
        cells = []
    if cells:
        yield _table(cells, columns, spec.separator, first_row)


def _twice(names: list[str]) -> list[str]:
    return sorted(shorten(name) for name, count in Counter(names).items() if count > 1)


def _table(cells: list[list[str]], columns: list[str], separator: str, first_row: int) -> Chunk:
    """Make a frame of text cells; rows of another width or with bytes that are no UTF-8 are set aside."""
    width = len(columns)
    count = len(cells)
    if all(len(row) == width for row in cells):
        frame = _frame(cells, columns)
        if frame is not None:
            return Chunk(frame, first_row, count)
    good: list[list[str]] = []
    numbers: list[int] = []
    misshapen: list[Reject] = []
    for number, row in enumerate(cells, start=first_row):
        payload = separator.join(row).encode("utf-8", "surrogateescape")
        if not row:
            misshapen.append(Reject(number, "empty_row", "The row is empty.", "", b""))
        elif len(row) != width:
            detail = f"The row has {len(row)} cells, the header {width}."
            misshapen.append(Reject(number, "invalid_value", detail, "", payload[: MAX_ROW_BYTES + 1]))
        elif not _is_text(row):
            misshapen.append(Reject(number, "invalid_utf8", "A cell holds bytes that are not UTF-8.", "", payload))
        else:
            good.append(row)
            numbers.append(number)
    frame = _frame(good, columns)
    if frame is None:
        raise RuntimeError(f"rows {first_row} to {first_row + count - 1} cannot be made a table")
    return Chunk(frame, first_row, count, misshapen, numbers)


def _frame(cells: list[list[str]], columns: list[str]) -> pl.DataFrame | None:
    try:
        by_column = list(zip(*cells, strict=True)) or [()] * len(columns)
        return pl.DataFrame({n: pl.Series(n, c, dtype=pl.String) for n, c in zip(columns, by_column, strict=True)})
    except UnicodeEncodeError:
        return None


def _is_text(row: list[str]) -> bool:
    return all(cell.isascii() or not any("\ud800" <= char <= "\udfff" for char in cell) for cell in row)
