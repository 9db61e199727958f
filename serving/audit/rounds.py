"""Auditing for ever: what is new soon, everything in turn, and what was found again until it is gone.

Belongs here: the order of the work and its rest. Does not belong here: comparing (`engine`), the process around it
(`orchestration.auditor`).

A round goes over all hours, then over all log positions, newest first. After each piece it rests as long as the piece
took, so that it uses at most half a core beside the traffic, and that at low priority.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import polars as pl

from resources.archive.ranges import size
from resources.raw_store.base import PositionRange
from serving.audit.causes import damaged
from serving.audit.engine import BY_POSITION, LOOKS, PAUSE, AuditScope, audit
from serving.audit.findings import IDENTITY, STORES, none
from serving.audit.memory import give_back_memory
from serving.audit.places import hours_of, positions_of, ranges_of
from serving.audit.record import AuditProgress, open_findings, record, write_progress
from serving.audit.rollups import spans
from serving.audit.stores import AuditStores, groups, read_reach

REST = 1.0
"""Seconds of rest for each second of work."""
EVERY = 10.0
"""Seconds between two looks at the newest rows and at what is open."""
PIECE = 4_000
"""Offsets per look: the auditor shares its machine with the traffic, and memory is what a wide row costs."""
HOURS_PIECE = 50_000
"""Events per look at slices and rollups."""
RECENT = 500
"""Offsets per partition that are new."""
GROWN = 2
"""A round over less than half of today's positions says nothing of how long a round takes."""
BY_TIME = tuple(store for store in STORES if store not in BY_POSITION)


class Auditor:
    """Audits until told to stop. Every finding is written down when it is first seen, and again when it is gone.

    A restart begins a new round: nothing is remembered but the findings, and they are looked for again first.
    """

    def __init__(self, stores: AuditStores, stop: threading.Event, say: Callable[[str], None]) -> None:
        self._stores, self._stop, self._say = stores, stop, say
        self._open = open_findings(stores.clickhouse)
        self._next_look = 0.0
        self._round_seconds = 0.0
        self._round_positions = 0
        self._began = datetime.now(UTC)
        self._seen = none()  # whatever look of the round it was

    def run(self) -> None:
        """Round after round. Raises what a store raises that does not answer."""
        while not self._stop.is_set():
            self.round()

    def round(self) -> None:
        """Audit everything once."""
        self._began = datetime.now(UTC)
        self._seen = none()
        positions = read_reach(self._stores.log).everything()
        covered = 0
        for scope in self._scopes(positions):
            if self._stop.is_set():
                return
            self._now_and_then(size(positions), covered)
            self._look(scope)
            covered += size(scope.ranges or ())
            self._progress(size(positions), covered)
        self._clear(self._open.join(self._seen, on=IDENTITY, how="anti", nulls_equal=True))
        self._round_seconds = (datetime.now(UTC) - self._began).total_seconds()
        self._round_positions = size(positions)
        self._progress(size(positions), covered)
        self._stop.wait(max(0.0, EVERY - self._round_seconds))

    def _scopes(self, positions: tuple[PositionRange, ...]) -> Iterator[AuditScope]:
        """Hours first: they cost little, and what is open among the positions must not keep them waiting."""
        everything = AuditScope()
        hours = spans(self._stores.clickhouse, everything.start, everything.end, HOURS_PIECE)
        yield from (AuditScope(BY_TIME, (), span.start, span.end) for span in reversed(hours))
        yield from (AuditScope(BY_POSITION, group) for group in reversed(list(groups(positions, PIECE))))

    def _now_and_then(self, positions: int, covered: int) -> None:
        """Look at the newest rows, and at what is open: a repair shows within seconds."""
        began = time.monotonic()
        if began < self._next_look:
            return
        if not self._open.is_empty():
            known = self._open
            again = self._audit(_around(known), looks=1)  # only what is gone is news here
            self._clear(known.join(again, on=IDENTITY, how="anti", nulls_equal=True))
        newest = [
            where._replace(start=max(where.start, where.end - RECENT))
            for where in read_reach(self._stores.log).everything()
        ]
        self._look(AuditScope(BY_POSITION, newest))
        took = time.monotonic() - began
        self._next_look = time.monotonic() + max(EVERY, 3 * took)  # the round must get on, whatever is open
        self._progress(positions, covered)

    def _look(self, scope: AuditScope) -> None:
        found = self._audit(scope, looks=LOOKS)
        new = found.join(self._open, on=IDENTITY, how="anti", nulls_equal=True)
        if not new.is_empty():
            record(self._stores.clickhouse, new, still_there=True)
            self._open = pl.concat([self._open, new])
            self._say(f"{new.height} new findings, {damaged(self._open).height} damaged rows open")

    def _audit(self, scope: AuditScope, looks: int) -> pl.DataFrame:
        """Compare, and rest as long as that took; pauses between looks are rest, too."""
        began = time.monotonic()
        report = audit(self._stores, scope, looks=looks)
        whole = time.monotonic() - began
        found = report.findings
        self._seen = pl.concat([self._seen, found]).unique(IDENTITY, maintain_order=True)
        give_back_memory()
        paused = (looks - 1) * PAUSE if not found.is_empty() else 0.0
        self._stop.wait(max(0.0, REST * (whole - paused) - paused))
        return found

    def _clear(self, gone: pl.DataFrame) -> None:
        if gone.is_empty():
            return
        record(self._stores.clickhouse, gone, still_there=False)
        self._open = self._open.join(gone, on=IDENTITY, how="anti", nulls_equal=True)
        self._say(f"{gone.height} findings are gone, {damaged(self._open).height} damaged rows open")

    def _progress(self, positions: int, covered: int) -> None:
        write_progress(
            self._stores.clickhouse,
            AuditProgress(
                at=datetime.now(UTC),
                round_began_at=self._began,
                round_seconds=self._round_seconds if positions <= GROWN * self._round_positions else 0.0,
                positions=positions,
                covered=min(covered, positions),
                findings=damaged(self._open).height,
            ),
        )


def _around(findings: pl.DataFrame) -> AuditScope:
    """A scope in which each of the findings would be found again."""
    chosen = [store for store in STORES if store in set(findings["store"])]
    by_position = findings.filter(pl.col("store").is_in(BY_POSITION))
    positions = positions_of(by_position)
    placed = by_position.filter(pl.col("log_topic") != "", pl.col("log_offset").is_not_null()).height
    by_time = findings.filter(~pl.col("store").is_in(BY_POSITION))
    few = placed == by_position.height and positions.height <= RECENT
    return AuditScope(chosen, ranges_of(positions) if few else None, hours=hours_of(by_time))
