"""JSON rows as columns: parses many rows at once, and finds the rows that would spoil the batch.

Belongs here: bytes of JSON objects → a polars frame of the columns asked for, one verdict per row that cannot be read.
Does not belong here: what the fields mean.

The fast path hands the whole batch to polars' NDJSON reader. It refuses a batch for one bad row, reads half of a
surrogate pair as NUL and skips empty rows, so a batch that may hold such a row is looked at row by row first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import polars as pl

from contracts.rejects import MAX_ROW_BYTES, shorten


class BadRow(NamedTuple):
    """A row that is no JSON object: its position in the input (from 0), the reason's code and a sentence."""

    position: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class JsonRows:
    """`frame` has the columns asked for and `positions[i]` is the input position of its row i."""

    frame: pl.DataFrame
    positions: list[int]
    bad: list[BadRow]


def parse_json_rows(
    rows: Sequence[bytes], schema: Mapping[str, pl.DataType], *, max_bytes: int = MAX_ROW_BYTES
) -> JsonRows:
    """Parse rows, each one JSON value, into the columns of `schema`; other fields are skipped.

    A value that does not fit its column's type becomes null, except that numbers and booleans fit text. A row that is
    JSON but not an object gives nulls only. Rows in `bad`: empty, too large, not JSON, not UTF-8, lone surrogates.
    """
    blob = b"\n".join(rows)
    if _looks_clean(rows, blob, max_bytes):
        frame = _read(blob, len(rows), schema)
        if frame is not None:
            return JsonRows(frame, list(range(len(rows))), [])
    bad: list[BadRow] = []
    positions: list[int] = []
    good: list[bytes] = []
    for position, row in enumerate(rows):
        problem = row_problem(row, max_bytes)
        if problem is not None:
            bad.append(BadRow(position, *problem))
        else:
            positions.append(position)
            good.append(row.replace(b"\n", b" ").replace(b"\r", b" "))  # outside strings, as orjson has proven
    return JsonRows(_read_isolating(good, schema), positions, bad)


def row_problem(row: bytes, max_bytes: int = MAX_ROW_BYTES) -> tuple[str, str] | None:
    """Return `(reason, detail)` of a row that cannot be read as JSON, None for one that can."""
    if len(row) > max_bytes:
        return "row_too_large", f"The row has {len(row):,} bytes; at most {max_bytes:,} are accepted."
    if not row.strip():
        return "empty_row", "The row is empty."
    try:
        orjson.loads(row)
    except orjson.JSONDecodeError as error:
        return _json_problem(row, str(error))
    return None


def _json_problem(row: bytes, message: str) -> tuple[str, str]:
    try:
        text = row.decode("utf-8")
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"Byte 0x{row[error.start]:02x} at position {error.start} is not UTF-8."
    if "surrogate" in message:
        return "invalid_unicode", f"The row escapes half of a surrogate pair: {message}."
    if "depth limit" in message or "recursion" in message:
        return "too_deep", f"The row nests too deeply: {message}."
    return "not_json", f"{message}: {shorten(text)}"


def _looks_clean(rows: Sequence[bytes], blob: bytes, max_bytes: int) -> bool:
    if not rows or blob.count(b"\n") != len(rows) - 1:
        return False
    if b"\\ud" in blob or b"\\uD" in blob:
        return False
    return all(map(len, map(bytes.strip, rows))) and len(max(rows, key=len)) <= max_bytes


def _read(blob: bytes, height: int, schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    try:
        frame = pl.read_ndjson(blob, schema=schema, ignore_errors=True)
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == height else None


def _read_isolating(rows: list[bytes], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Read rows that are known to be JSON; those only polars cannot read (numbers beyond its range) are rewritten."""
    if not rows:
        return pl.DataFrame(schema=schema)
    frame = _read(b"\n".join(rows), len(rows), schema)
    if frame is not None:
        return frame
    if len(rows) == 1:
        # A number beyond 128 bits or beyond a double: its digits are kept as text.
        value = json.loads(rows[0], parse_int=_int_or_text, parse_float=_float_or_text)
        frame = _read(orjson.dumps(value), 1, schema)
        return frame if frame is not None else pl.DataFrame({name: [None] for name in schema}, schema=schema)
    half = len(rows) // 2
    return pl.concat([_read_isolating(rows[:half], schema), _read_isolating(rows[half:], schema)])


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= 18 else digits


def _float_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
