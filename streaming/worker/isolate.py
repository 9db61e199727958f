"""Finding the row a store will not take, without holding up its neighbours.

Belongs here: splitting a refused block. Does not belong here: which errors blame the rows (each writer says so).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

_log = logging.getLogger(__name__)

ATTEMPTS = 3
_FEW = 20


class StoreRefusesError(Exception):
    """The store refuses most rows of a batch: it is the store or its tables that are wrong, not the rows."""


@dataclass(frozen=True, slots=True)
class Poison:
    """Rows (one, in practice) that the store refuses by themselves, and its words."""

    rows: pl.DataFrame
    error: str


def write_isolating(
    rows: pl.DataFrame, token: str, write: Callable[[pl.DataFrame, str], None], refused: tuple[type[Exception], ...]
) -> list[Poison]:
    """Write the block; when refused `ATTEMPTS` times, halve it until the refused rows stand alone. Returns those.

    Halves carry tokens derived from their place in the block, so doing it again after a crash writes nothing twice.
    Raises StoreRefusesError when most of a larger block is refused. Other errors pass through.
    """
    error = _attempt(rows, token, write, refused, ATTEMPTS)
    if error is None:
        return []
    if rows.height == 1:
        return [Poison(rows, str(error))]
    _log.warning(
        "a block of %d rows was refused %d times, looking for the rows at fault: %s", rows.height, ATTEMPTS, error
    )
    poison: list[Poison] = []
    stack = [(rows.height // 2, rows.height), (0, rows.height // 2)]
    while stack:
        start, end = stack.pop()
        part = rows.slice(start, end - start)
        error = _attempt(part, f"{token}:{start}-{end}", write, refused, 1)
        if error is None:
            continue
        if end - start == 1:
            poison.append(Poison(part, str(error)))
            if len(poison) > _FEW and len(poison) > end / 2:
                raise StoreRefusesError(f"{len(poison)} of the first {end} rows are refused, the last with: {error}")
            continue
        middle = (start + end) // 2
        stack += [(middle, end), (start, middle)]
    return poison


def _attempt(
    rows: pl.DataFrame,
    token: str,
    write: Callable[[pl.DataFrame, str], None],
    refused: tuple[type[Exception], ...],
    attempts: int,
) -> Exception | None:
    error: Exception | None = None
    for _ in range(attempts):
        try:
            write(rows, token)
        except refused as refusal:
            error = refusal
        else:
            return None
    return error
