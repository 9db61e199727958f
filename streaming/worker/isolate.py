"""Finding the row a store will not take, without holding up its neighbours.

Belongs here: halving a refused block, and writing what is left of it. Does not belong here: which errors blame the rows
(each writer says so).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

_log = logging.getLogger(__name__)

ATTEMPTS = 3
_FEW = 20


class StoreRefusesError(Exception):
    """The store refuses a batch and no few rows can be blamed: it is the store that is wrong, not the rows."""


@dataclass(frozen=True, slots=True)
class Poison:
    """One row that the store refuses by itself, and the store's words."""

    rows: pl.DataFrame
    error: str


def write_isolating(
    rows: pl.DataFrame,
    write: Callable[[pl.DataFrame, str], None],
    probe: Callable[[pl.DataFrame], None],
    refused: tuple[type[Exception], ...],
) -> list[Poison]:
    """Write the block; when it is refused `ATTEMPTS` times, find the rows at fault and write the others as one block.

    Args:
        rows: The block, with `log_topic`, `log_partition` and `log_offset`.
        write: Writes a block, whole or not at all; its text is '' for the whole block and names the rest otherwise.
        probe: Raises what the store says of these rows. What it writes, if anything, must not matter.
        refused: The errors that blame the rows; others pass through.

    Returns: the rows at fault. Raises StoreRefusesError when none is, or most are.
    """
    error = _attempt(lambda: write(rows, ""), refused, ATTEMPTS)
    if error is None:
        return []
    _log.warning(
        "a block of %d rows was refused %d times, looking for those at fault: %s", rows.height, ATTEMPTS, error
    )
    poison = _find(rows, probe, refused)
    if not poison:
        raise StoreRefusesError(f"a block of {rows.height} rows is refused, but no row of it alone: {error}")
    at_fault = pl.concat(item.rows for item in poison)
    rest = rows.join(at_fault, on=_POSITION, how="anti", maintain_order="left")
    if rest.height and (error := _attempt(lambda: write(rest, _name(at_fault)), refused, 1)) is not None:
        raise StoreRefusesError(f"a block is refused although the rows at fault were taken out: {error}")
    return poison


_POSITION = ["log_topic", "log_partition", "log_offset"]


def _find(
    rows: pl.DataFrame, probe: Callable[[pl.DataFrame], None], refused: tuple[type[Exception], ...]
) -> list[Poison]:
    poison: list[Poison] = []
    stack = [(0, rows.height)]
    while stack:
        start, end = stack.pop()
        part = rows.slice(start, end - start)
        error = _attempt(partial(probe, part), refused, 1)
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


def _name(at_fault: pl.DataFrame) -> str:
    """Name a set of positions: after a crash the same rows are found and the rest has the same name again."""
    places: Sequence[object] = at_fault.select(_POSITION).sort(_POSITION).rows()
    return hashlib.sha256(repr(places).encode()).hexdigest()[:16]


def _attempt(action: Callable[[], None], refused: tuple[type[Exception], ...], attempts: int) -> Exception | None:
    error: Exception | None = None
    for _ in range(attempts):
        try:
            action()
        except refused as refusal:
            error = refusal
        else:
            return None
    return error
