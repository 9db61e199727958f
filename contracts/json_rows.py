"""JSON rows as columns: parses many rows at once, and finds the rows that would spoil the batch.

Belongs here: bytes of JSON objects → a polars frame of the columns asked for, one verdict per row that cannot be read.
Does not belong here: what the fields mean.

The fast path hands the whole batch to polars' NDJSON reader. It refuses a batch for one bad row, reads half of a
surrogate pair as NUL and skips empty rows, so a batch that may hold such a row is looked at row by row first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import polars as pl

from contracts.rejects import MAX_ROW_BYTES, shorten

_ROW = pl.col("row")
_ODD = _ROW.bin.contains(b"\n") | ~_ROW.bin.ends_with(b"}")  # the latter also finds rows of white space only
_ESCAPED = _ROW.bin.contains(b"\\ud") | _ROW.bin.contains(b"\\uD")


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
    suspects = _suspects(rows, max_bytes)
    if not suspects and (frame := _read(rows, schema)) is not None:
        return JsonRows(frame, list(range(len(rows))), [])
    bad = {position: problem for position in suspects if (problem := row_problem(rows[position], max_bytes))}
    good = {
        # Line ends within a row stand outside its texts, as the check has shown; only `raw` keeps them.
        position: row.replace(b"\n", b" ").replace(b"\r", b" ") if position in suspects else row
        for position, row in enumerate(rows)
        if position not in bad
    }
    frame = _read(list(good.values()), schema)
    if frame is None:
        for position in good.keys() - suspects:
            if problem := row_problem(rows[position], max_bytes):
                bad[position] = problem
                del good[position]
        frame = _read_isolating(list(good.values()), schema)
    return JsonRows(frame, list(good), [BadRow(position, *bad[position]) for position in sorted(bad)])


def _suspects(rows: Sequence[bytes], max_bytes: int) -> set[int]:
    """Return the positions of rows that polars' reader would misread, skip or should not see at all."""
    frame = pl.DataFrame({"row": pl.Series(rows, dtype=pl.Binary)})
    odd, escaped = frame.select(_ODD | (_ROW.bin.size() > max_bytes), _ESCAPED.alias("escaped")).get_columns()
    pairs = {position for position in escaped.arg_true() if _escapes_surrogate(rows[position])}
    return set(odd.arg_true()) | pairs


def _escapes_surrogate(row: bytes) -> bool:
    """Return whether a row holds an escaped surrogate, whole pairs included; `\\\\ud83d` is an escaped backslash."""
    unescaped = row.replace(b"\\\\", b"")
    return b"\\ud" in unescaped or b"\\uD" in unescaped


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


def _read(rows: Sequence[bytes], schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    """Read rows as one block; None when polars refuses the block or does not see as many rows in it."""
    if not rows:
        return pl.DataFrame(schema=schema)
    try:
        frame = pl.read_ndjson(b"\n".join(rows), schema=schema, ignore_errors=True)
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == len(rows) else None


def _read_isolating(rows: list[bytes], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Read rows that are known to be JSON; those only polars cannot read (numbers beyond its range) are rewritten."""
    frame = _read(rows, schema)
    if frame is not None:
        return frame
    if len(rows) == 1:
        # A number beyond 128 bits: its digits are kept as text.
        value = json.loads(rows[0], parse_int=_int_or_text)
        frame = _read([orjson.dumps(value)], schema)
        return frame if frame is not None else pl.DataFrame({name: [None] for name in schema}, schema=schema)
    half = len(rows) // 2
    return pl.concat([_read_isolating(rows[:half], schema), _read_isolating(rows[half:], schema)])


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= 18 else digits
