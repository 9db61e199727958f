"""The audit itself: which stores, which ranges, one unit after the other, every disagreement looked at again.

Belongs here: the order of the comparisons, what counts as confirmed, the summary. Does not belong here: a comparison.

Stores are compared while they are written to. What is on its way differs for a moment: a finding counts when looks
some time apart agree on it to the letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import polars as pl

from resources.archive.ranges import common, size
from resources.clickhouse import Client
from resources.raw_store.base import PositionRange
from serving.audit.archive import compare_archive, inspect_archive
from serving.audit.beyond import beyond_live, beyond_raw
from serving.audit.findings import IDENTITY, STORES, Store, join_all, none
from serving.audit.live import compare_live
from serving.audit.raw_store import RawCompared, compare_raw
from serving.audit.rollups import Span, compare_live_rollups, compare_sealed_rollups, spans
from serving.audit.slices import slice_looks
from serving.audit.stores import LIVE_GROUP, RAW_GROUP, AuditStores, groups, read_reach
from serving.audit.truth import read_truth

T = TypeVar("T")

LOOKS = 4
PAUSE = 1.0
"""Seconds between two looks at something that differs."""

BEGINNING, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC)
BY_POSITION: tuple[Store, ...] = ("raw store", "ClickHouse", "archive")

Progress = Callable[[str, int], None]
"""Called with the store and how many rows of it have been compared so far."""


@dataclass(frozen=True, slots=True)
class AuditScope:
    """What to look at. `ranges`: log positions (None: all). `[start, end)`: event time, for slices and rollups."""

    stores: Sequence[Store] = STORES
    ranges: Sequence[PositionRange] | None = None
    start: datetime = BEGINNING
    end: datetime = END


@dataclass(slots=True)
class StoreResult:
    """What was compared of one store."""

    rows: int = 0
    seconds: float = 0.0
    findings: pl.DataFrame = field(default_factory=none)

    def add(self, compared: tuple[pl.DataFrame, int]) -> None:
        found, rows = compared
        self.rows += rows
        if not found.is_empty():
            self.findings = join_all([self.findings, found])


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`positions`: log offsets looked at. `unknown`: those that neither log nor archive can speak for."""

    stores: dict[Store, StoreResult]
    positions: int = 0
    unknown: int = 0

    @property
    def findings(self) -> pl.DataFrame:
        """FINDING_SCHEMA, of all stores."""
        return join_all(result.findings for result in self.stores.values())

    @property
    def clean(self) -> bool:
        return all(result.findings.is_empty() for result in self.stores.values())


def audit(
    stores: AuditStores,
    scope: AuditScope | None = None,
    progress: Progress = lambda _store, _rows: None,
    *,
    looks: int = LOOKS,
    pause: float | None = None,
) -> AuditReport:
    """Compare, and return what differs. Raises what the stores raise when one of them does not answer."""
    scope = scope or AuditScope()
    results = {store: StoreResult() for store in STORES if store in scope.stores}
    positions = unknown = 0
    confirm = _Confirm(looks, PAUSE if pause is None else pause)
    if set(BY_POSITION) & set(results):
        look = _Positions(stores, scope, results, confirm)
        for group in groups(look.ranges):
            look.compare(group)
            for store in BY_POSITION:
                if store in results:
                    progress(store, results[store].rows)
        positions, unknown = size(look.ranges), look.unknown
    for store, compare in (("slices", _slices), ("live rollups", _live_rollups), ("sealed rollups", _sealed_rollups)):
        if store not in results:
            continue
        with _timed(results[store]) as result:
            for look_at in compare(stores, scope):
                result.add(confirm(look_at))
                progress(store, result.rows)
    return AuditReport(results, positions, unknown)


Look = Callable[[], tuple[pl.DataFrame, int]]
"""Compares once: findings, and rows compared."""


# Rollups of the current hour grow between two looks: the difference must stay, not the two numbers.
_SHORT = (
    pl.when(pl.col("store").str.ends_with("rollups"))
    .then(
        pl.col("expected").str.extract(r"^(\d+)").cast(pl.Int64) - pl.col("found").str.extract(r"^(\d+)").cast(pl.Int64)
    )
    .otherwise(pl.col("found").hash().reinterpret(signed=True))
    .alias("short")
)


class _Confirm:
    """Looks again at what differs: a finding counts when every look sees it, differing by the same."""

    def __init__(self, looks: int, pause: float) -> None:
        self._looks, self._pause = looks, pause

    def __call__(self, look: Look) -> tuple[pl.DataFrame, int]:
        found, rows = look()
        for _ in range(self._looks - 1):
            if found.is_empty():
                break
            time.sleep(self._pause)
            again, _ = look()
            found = found.with_columns(_SHORT).join(
                again.with_columns(_SHORT), on=[*IDENTITY, "short"], how="semi", nulls_equal=True
            )
            found = found.drop("short")
        return found, rows


class _Positions:
    """The comparisons by log position: one reading of the truth serves three stores."""

    def __init__(
        self, stores: AuditStores, scope: AuditScope, results: Mapping[Store, StoreResult], confirm: _Confirm
    ) -> None:
        self._stores, self._scope, self._results, self._confirm = stores, scope, results, confirm
        self._reach = read_reach(stores.log)
        everything = self._reach.everything()
        self.ranges = everything if scope.ranges is None else common(scope.ranges, everything)
        self.unknown = 0
        if scope.ranges is None:
            self._beyond()
        if "archive" in results:
            with _timed(results["archive"]) as result:
                result.add(confirm(self._inspect))
        else:
            self._state = inspect_archive(stores.archive, stores.clickhouse, self._reach.gone(self.ranges))

    def _beyond(self) -> None:
        """Rows at positions that the log has not given out yet: moved there by hand, they would be seen by nobody."""
        looks: dict[Store, Callable[[AuditStores], tuple[pl.DataFrame, int]]] = {
            "raw store": beyond_raw,
            "ClickHouse": beyond_live,
        }
        for store, look in looks.items():
            if store in self._results:
                with _timed(self._results[store]) as result:
                    result.add(self._confirm(partial(look, self._stores)))

    def _inspect(self) -> tuple[pl.DataFrame, int]:
        self._state = inspect_archive(self._stores.archive, self._stores.clickhouse, self._scope.ranges)
        return self._state.findings, 0

    def compare(self, ranges: Sequence[PositionRange]) -> None:
        """Compare the three stores in these ranges."""
        stores, results = self._stores, self._results
        truth = read_truth(stores, self._reach, ranges, self._state.parts, self._state.broken)
        self.unknown += size(truth.unknown)
        taken = self._reach.taken(ranges, RAW_GROUP)
        began = time.monotonic()
        raw = compare_raw(stores.raw_store, truth, taken)
        if "raw store" in results:
            results["raw store"].seconds += time.monotonic() - began
            again = _first(raw, lambda: compare_raw(stores.raw_store, truth, taken))
            results["raw store"].add(self._confirm(lambda: (again().findings, raw.rows)))
        if "ClickHouse" in results:
            live = self._reach.taken(ranges, LIVE_GROUP)
            with _timed(results["ClickHouse"]) as result:
                result.add(self._confirm(lambda: compare_live(stores.clickhouse, truth, live, raw.duplicates)))
        if "archive" in results:
            with _timed(results["archive"]) as result:
                result.add(self._confirm(lambda: self._archive(raw, taken)))

    def _archive(self, raw: RawCompared, ranges: Sequence[PositionRange]) -> tuple[pl.DataFrame, int]:
        found, rows = compare_archive(self._stores.archive, self._state, raw.expected, ranges)
        if not found.is_empty():
            self._inspect()  # parts may have been replaced by a merged one since
            found, rows = compare_archive(self._stores.archive, self._state, raw.expected, ranges)
        return found, rows


def _first(value: T, later: Callable[[], T]) -> Callable[[], T]:
    """Return `value` at the first call and ask again at every other."""
    held = [value]
    return lambda: held.pop() if held else later()


def _slices(stores: AuditStores, scope: AuditScope) -> Iterator[Look]:
    yield from slice_looks(stores, scope.start, scope.end)


def _live_rollups(stores: AuditStores, scope: AuditScope) -> Iterator[Look]:
    client = stores.clickhouse
    for span in spans(client, scope.start, scope.end):
        yield partial(_rollup_look, compare_live_rollups, client, span)


def _sealed_rollups(stores: AuditStores, scope: AuditScope) -> Iterator[Look]:
    client = stores.clickhouse
    for span in spans(client, scope.start, scope.end):
        yield partial(_rollup_look, compare_sealed_rollups, client, span)


def _rollup_look(
    compare: Callable[[Client, Span], pl.DataFrame], client: Client, span: Span
) -> tuple[pl.DataFrame, int]:
    return compare(client, span), span.events


@contextmanager
def _timed(result: StoreResult) -> Iterator[StoreResult]:
    began = time.monotonic()
    yield result
    result.seconds += time.monotonic() - began
