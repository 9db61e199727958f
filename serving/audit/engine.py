"""The audit itself: which stores, which ranges, one unit after the other, every disagreement looked at again.

Belongs here: the order of the comparisons, what counts as confirmed, the summary. Does not belong here: a comparison.

Stores are compared while they are written to. What is on its way differs for a moment: a finding counts when looks
some time apart agree on it to the letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import polars as pl

from resources.archive.ranges import common, joined, size, within, without
from resources.clickhouse import Client
from resources.raw_store.base import PositionRange
from serving.audit.archive import ArchiveState, compare_archive, inspect_archive
from serving.audit.beyond import beyond_live, beyond_log, beyond_raw
from serving.audit.confirm import Confirm, Look, Narrow, StoreResult
from serving.audit.contents import compare_contents
from serving.audit.findings import STORES, Store, join_all
from serving.audit.judge import LOG, Judged, inspect_log, judge, suspects
from serving.audit.live import compare_live
from serving.audit.places import hours_of, periods_of, positions_of, ranges_of
from serving.audit.raw_store import RawCompared, compare_raw
from serving.audit.rollups import Span, compare_live_progress, compare_live_rollups, compare_sealed_rollups, spans
from serving.audit.seals import compare_seals
from serving.audit.slices import slice_look, slice_looks
from serving.audit.stores import LIVE_GROUP, RAW_GROUP, AuditStores, groups, read_reach
from serving.audit.truth import Truth, read_truth

LOOKS = 4
PAUSE = 1.0
"""Seconds between two looks at something that differs."""

BEGINNING, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC)
FEW = 200
"""Ranges up to which only what differed is looked at again."""
BY_POSITION: tuple[Store, ...] = (LOG, "raw store", "ClickHouse", "archive")

Progress = Callable[[str, int], None]
"""Called with the store and how many rows of it have been compared so far."""


@dataclass(frozen=True, slots=True)
class AuditScope:
    """What to look at. `ranges`: log positions (None: all). `[start, end)`: event time, for slices and rollups.

    `hours`: only these of them (None: all).
    """

    stores: Sequence[Store] = STORES
    ranges: Sequence[PositionRange] | None = None
    start: datetime = BEGINNING
    end: datetime = END
    hours: Collection[datetime] | None = None

    @property
    def periods(self) -> list[tuple[datetime, datetime]]:
        """Event time to look at, as `[start, end)`."""
        return [(self.start, self.end)] if self.hours is None else periods_of(self.hours)


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
    def notes(self) -> pl.DataFrame:
        """FINDING_SCHEMA: what differs and is left, because every store agrees on what the log should hold."""
        return join_all(result.notes for result in self.stores.values())

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
    confirm = Confirm(looks, PAUSE if pause is None else pause)
    if set(BY_POSITION) & set(results):
        look = _Positions(stores, scope, results, confirm)
        for group in groups(look.ranges):
            look.compare(group)
            for store in BY_POSITION:
                if store in results:
                    progress(store, results[store].rows)
        positions, unknown = size(look.ranges), look.unknown
    by_time: tuple[tuple[Store, Callable[[AuditStores, AuditScope], Looks]], ...] = (
        ("slices", _slices),
        ("live rollups", _live_rollups),
        ("sealed rollups", _sealed_rollups),
        ("seals", _seals),
    )
    for store, compare in by_time:
        if store in results:
            for look_at, narrow in compare(stores, scope):
                confirm(results[store], look_at, narrow)
                progress(store, results[store].rows)
    confirm.settle()
    return AuditReport(results, positions, unknown)


class _Positions:
    """The comparisons by log position: one reading of the truth serves all stores."""

    def __init__(
        self, stores: AuditStores, scope: AuditScope, results: Mapping[Store, StoreResult], confirm: Confirm
    ) -> None:
        self._stores, self._scope, self._results, self._confirm = stores, scope, results, confirm
        self._reach = read_reach(stores.log)
        everything = self._reach.everything()
        self.ranges = everything if scope.ranges is None else common(scope.ranges, everything)
        self.unknown = 0
        if scope.ranges is None:
            self._beyond()
        if "archive" in results:
            confirm(results["archive"], self._inspect)
        else:
            self._state = inspect_archive(stores.archive, stores.clickhouse, self._reach.gone(self.ranges))

    def _beyond(self) -> None:
        """Rows at positions that the log has not given out yet: moved there by hand, they would be seen by nobody."""
        looks: dict[Store, Callable[[AuditStores], tuple[pl.DataFrame, int]]] = {
            LOG: beyond_log,
            "raw store": beyond_raw,
            "ClickHouse": beyond_live,
        }
        for store, look in looks.items():
            if store in self._results:
                self._confirm(self._results[store], partial(look, self._stores))

    def _inspect(self) -> tuple[pl.DataFrame, int]:
        self._state = inspect_archive(self._stores.archive, self._stores.clickhouse, self._scope.ranges)
        return self._state.findings, 0

    def compare(self, ranges: Sequence[PositionRange]) -> None:
        """Compare the log with the stores, then the stores with what the log says where it is right."""
        stores, results = self._stores, self._results
        truth = read_truth(stores, self._reach, ranges, self._state.parts, self._state.broken)
        self.unknown += size(truth.unknown)
        taken, live = (self._reach.taken(ranges, group) for group in (RAW_GROUP, LIVE_GROUP))
        began = time.monotonic()
        raw = compare_raw(stores.raw_store, stores.clickhouse, truth, taken)
        spent = time.monotonic() - began
        look = partial(compare_live, stores.clickhouse, stores.raw_store, truth, live, raw.duplicates)
        first = look() if "ClickHouse" in results else None
        judged = self._judge(truth, ranges, join_all([raw.findings, *([first[0]] if first else [])]))
        if judged is not truth:
            truth, first = judged, None
            raw = compare_raw(stores.raw_store, stores.clickhouse, truth, taken)
            look = partial(compare_live, stores.clickhouse, stores.raw_store, truth, live, raw.duplicates)

        def raw_again(found: pl.DataFrame) -> Look:
            at, where = _only(truth, taken, found)
            return lambda: _found(compare_raw(stores.raw_store, stores.clickhouse, at, where))

        def live_again(found: pl.DataFrame) -> Look:
            at, where = _only(truth, live, found)
            return partial(compare_live, stores.clickhouse, stores.raw_store, at, where, raw.duplicates)

        if "raw store" in results:
            results["raw store"].seconds += spent
            self._confirm(results["raw store"], lambda: _found(raw), raw_again)
        if "ClickHouse" in results:
            self._confirm(results["ClickHouse"], lambda: first or look(), live_again)
        if "archive" in results:
            self._confirm(
                results["archive"], partial(self._archive, raw.expected, without(joined(taken), truth.unknown))
            )

    def _judge(self, truth: Truth, ranges: Sequence[PositionRange], findings: pl.DataFrame) -> Truth:
        """Ask the stores wherever the log is not beyond doubt: where it says so itself, or a store disagrees."""
        stores = self._stores
        began = time.monotonic()
        condition = inspect_log(stores.log, self._reach.readable(ranges))
        asked = suspects(condition, findings)

        def ask() -> Judged:
            if asked.is_empty():
                return Judged(truth)
            return judge(stores, self._reach, truth, condition, asked, self._archive_around(asked))

        judged = ask()
        if LOG in self._results:
            result = self._results[LOG]
            result.seconds += time.monotonic() - began
            rows = truth.events.filter(within(truth.decoded)).height + truth.rejects.height
            self._confirm(result, lambda: (judged.findings, rows), lambda _: lambda: (ask().findings, rows))
            result.notes = join_all([result.notes, judged.notes])
        return judged.truth

    def _archive_around(self, positions: pl.DataFrame) -> ArchiveState:
        if "archive" in self._results:
            return self._state
        return inspect_archive(self._stores.archive, self._stores.clickhouse, ranges_of(positions))

    def _archive(self, expected: pl.DataFrame, ranges: Sequence[PositionRange]) -> tuple[pl.DataFrame, int]:
        found, rows = compare_archive(self._stores.archive, self._state, expected, ranges)
        if not found.is_empty():
            self._inspect()  # parts may have been replaced by a merged one since
            found, rows = compare_archive(self._stores.archive, self._state, expected, ranges)
        return found, rows


def _found(raw: RawCompared) -> tuple[pl.DataFrame, int]:
    return raw.findings, raw.rows


def _only(truth: Truth, ranges: Sequence[PositionRange], found: pl.DataFrame) -> tuple[Truth, Sequence[PositionRange]]:
    """The truth and the ranges of the findings alone, if they are few."""
    spots = ranges_of(positions_of(found))
    if len(spots) > FEW:
        return truth, ranges
    here = within(spots)
    return replace(truth, events=truth.events.filter(here), rejects=truth.rejects.filter(here)), spots


Looks = Iterator[tuple[Look, Narrow]]
Compared = tuple[pl.DataFrame, int]


def _slices(stores: AuditStores, scope: AuditScope) -> Looks:
    def narrow(found: pl.DataFrame) -> Look:
        return lambda: _together(slice_look(stores, *period) for period in periods_of(hours_of(found)))

    for period in scope.periods:
        yield from ((look, narrow) for look in slice_looks(stores, *period))


def _live_rollups(stores: AuditStores, scope: AuditScope) -> Looks:
    def look() -> tuple[pl.DataFrame, int]:
        return compare_live_progress(stores.clickhouse), 0

    yield look, lambda _found: look
    yield from _rollups(_counted(compare_live_rollups, stores.clickhouse), stores, scope)


def _sealed_rollups(stores: AuditStores, scope: AuditScope) -> Looks:
    yield from _rollups(_counted(_compare_sealed, stores.clickhouse), stores, scope)


def _compare_sealed(client: Client, span: Span) -> pl.DataFrame:
    return join_all([compare_sealed_rollups(client, span), compare_contents(client, span)])


def _seals(stores: AuditStores, scope: AuditScope) -> Looks:
    yield from _rollups(partial(compare_seals, stores), stores, scope)


def _counted(compare: Callable[[Client, Span], pl.DataFrame], client: Client) -> Callable[[Span], Compared]:
    return lambda span: (compare(client, span), span.events)


def _rollups(compare: Callable[[Span], Compared], stores: AuditStores, scope: AuditScope) -> Looks:

    def look(*some: Span) -> tuple[pl.DataFrame, int]:
        return _together(compare(span) for span in some)

    def narrow(found: pl.DataFrame) -> Look:
        return partial(look, *(Span(start, end, 0) for start, end in periods_of(hours_of(found))))

    for period in scope.periods:
        yield from ((partial(look, span), narrow) for span in spans(stores.clickhouse, *period))


def _together(looks: Iterable[tuple[pl.DataFrame, int]]) -> tuple[pl.DataFrame, int]:
    frames, counts = zip(*looks, strict=True)
    return join_all(frames), sum(counts)
