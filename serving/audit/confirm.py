"""Looking again at what differs: a finding counts when every look sees it, differing by the same.

Belongs here: when to look again, and what makes two looks agree. Does not belong here: a comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from serving.audit.findings import IDENTITY, join_all, none

Look = Callable[[], tuple[pl.DataFrame, int]]
"""Compares once: findings, and rows compared."""
Narrow = Callable[[pl.DataFrame], Look]
"""From what differed to a look at nothing else."""

_WAITING = 16
"""Looks whose findings wait for the pauses together."""

# Rollups of the current hour grow between two looks: the difference must stay, not the two numbers.
_SHORT = (
    pl.when(pl.col("store").str.ends_with("rollups"))
    .then(
        pl.col("expected").str.extract(r"^(\d+)").cast(pl.Int64, strict=False)
        - pl.col("found").str.extract(r"^(\d+)").cast(pl.Int64, strict=False)
    )
    .otherwise(pl.col("found").hash().reinterpret(signed=True))
    .alias("short")
)


@dataclass(slots=True)
class StoreResult:
    """What was compared of one store. `notes`: what is wrong, harms no other store and cannot be put right."""

    rows: int = 0
    seconds: float = 0.0
    findings: pl.DataFrame = field(default_factory=none)
    notes: pl.DataFrame = field(default_factory=none)


class Confirm:
    """Runs looks, and looks again, together and after a pause, at those that found something."""

    def __init__(self, looks: int, pause: float) -> None:
        self._looks, self._pause = looks, pause
        self._open: list[tuple[StoreResult, Look, pl.DataFrame]] = []

    def __call__(self, result: StoreResult, look: Look, narrow: Narrow | None = None) -> None:
        """Look; what is found counts once `settle` has confirmed it. `narrow`: how to look at the findings alone."""
        with _timed(result):
            found, rows = look()
        result.rows += rows
        if found.is_empty():
            return
        self._open.append((result, look if narrow is None else narrow(found), found))
        if len(self._open) >= _WAITING:
            self.settle()

    def settle(self) -> None:
        """Look again at everything that differs, as often as needed, and write down what stays."""
        for _ in range(self._looks - 1):
            if not self._open:
                return
            time.sleep(self._pause)
            self._open = [(result, look, _still(result, look, found)) for result, look, found in self._open]
            self._open = [entry for entry in self._open if not entry[2].is_empty()]
        for result, _, found in self._open:
            result.findings = join_all([result.findings, found])
        self._open = []


def _still(result: StoreResult, look: Look, found: pl.DataFrame) -> pl.DataFrame:
    with _timed(result):
        again, _ = look()
    same = again.with_columns(_SHORT)
    return found.with_columns(_SHORT).join(same, on=[*IDENTITY, "short"], how="semi", nulls_equal=True).drop("short")


@contextmanager
def _timed(result: StoreResult) -> Iterator[None]:
    began = time.monotonic()
    yield
    result.seconds += time.monotonic() - began
