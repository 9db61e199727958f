"""Audit once, repair what was found, and audit what was repaired again.

Belongs here: the order and the report. Does not belong here: how a store is put right.

Upstream first: the log where its stores prove it wrong, raw store and ClickHouse from the log, the archive from the raw
store, slices from the archive, rollups from slices. A wrong value may have been carried on before it was found; then
only the audit of what was repaired sees it downstream, and that is repaired in the next round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from orchestration.auditing import open_audit_stores
from orchestration.repair.archive import hours_named, repair_archive
from orchestration.repair.event_log import repair_log
from orchestration.repair.live import repair_live
from orchestration.repair.raw_store import repair_raw
from orchestration.repair.sealed import repair_sealed
from orchestration.settings import Settings
from orchestration.stack.mending import mending
from resources.archive.ranges import joined
from serving.audit.causes import damaged
from serving.audit.engine import AuditReport, AuditScope, audit
from serving.audit.findings import none
from serving.audit.judge import LOG
from serving.audit.places import hours_of, positions_of, ranges_of
from serving.audit.stores import AuditStores

ROUNDS = 4

Progress = Callable[[str], None]


@dataclass(slots=True)
class RepairReport:
    """`found`: by the first audit. `remaining`: by the last one. `written`: what was written again, in words.

    `notes`: what the first audit found wrong with a log that cannot be written there, while every store is right.
    """

    found: pl.DataFrame = field(default_factory=none)
    remaining: pl.DataFrame = field(default_factory=none)
    notes: pl.DataFrame = field(default_factory=none)
    written: dict[str, int] = field(default_factory=dict)
    rounds: int = 0

    def count(self, what: str, rows: int) -> None:
        if rows:
            self.written[what] = self.written.get(what, 0) + rows


def repair(settings: Settings, scope: AuditScope, progress: Progress) -> RepairReport:
    """Audit the scope and put right what differs. Raises StackError when it cannot be done now.

    That is when the live worker cannot be paused, or another repair or replay is at work on this home.
    `progress` gets a line per step with its rows and seconds.
    """
    report = RepairReport()
    with mending(settings.home, "tally repair"), open_audit_stores(settings) as stores:
        first = _audited(stores, scope, "audit", progress)
        report.found = report.remaining = first.findings
        report.notes = first.notes
        where = scope
        while not report.remaining.is_empty() and report.rounds < ROUNDS:
            report.rounds += 1
            before = dict(report.written)
            touched = [_repaired(stores, scope, report.remaining)]
            _put_right(settings, stores, report, progress)
            if report.written == before:
                break  # what is left nobody can decide
            touched.append(_repaired(stores, scope, report.remaining))  # parts that were gone are there now
            where = _together(scope, touched if report.rounds == 1 else [where, *touched])
            report.remaining = _audited(stores, where, "audit of what was repaired", progress).findings
    return report


def _audited(stores: AuditStores, scope: AuditScope, what: str, progress: Progress) -> AuditReport:
    began = time.monotonic()
    progress(f"{what} …")
    report = audit(stores, scope)
    rows, found = sum(result.rows for result in report.stores.values()), damaged(report.findings).height
    seconds = time.monotonic() - began
    progress(f"{what}: {rows:,} rows, {found:,} damaged, {report.findings.height - found:,} following, {seconds:.1f} s")
    return report


def _repaired(stores: AuditStores, scope: AuditScope, findings: pl.DataFrame) -> AuditScope:
    """The positions and hours that a repair of these findings touches, and what is made from them."""
    ranges = ranges_of(positions_of(findings))
    archive = pl.col("store") == "archive"
    hours: set[datetime] = hours_of(findings.filter(~archive))
    named = hours_named(findings.filter(archive))
    for part in stores.archive.inspect()[0] if named else ():  # what can be read: a manifest may be what is damaged
        if part.ingest_hour in named:
            ranges += part.ranges
            hours |= {event_hour for event_hour, _ in part.contents}
    # A day is compared with the hour it begins in.
    return replace(scope, ranges=joined(ranges), hours=hours | {hour.replace(hour=0) for hour in hours})


def _together(scope: AuditScope, places: Sequence[AuditScope]) -> AuditScope:
    ranges = [where for place in places for where in place.ranges or ()]
    return replace(scope, ranges=joined(ranges), hours={hour for place in places for hour in place.hours or ()})


def _put_right(settings: Settings, stores: AuditStores, report: RepairReport, progress: Progress) -> None:
    """One round: every store that findings name, upstream first."""
    mine = {str(store): part for (store,), part in report.remaining.group_by("store", maintain_order=True)}

    def of(*names: str) -> pl.DataFrame:
        return pl.concat([none(), *(mine[name] for name in names if name in mine)])

    if LOG in mine:
        with _step(LOG, "messages", report, progress) as done:
            done.append(repair_log(stores, mine[LOG]))
    if "raw store" in mine:
        with _step("raw store", "positions", report, progress) as done:
            done.append(repair_raw(stores, mine["raw store"]))
    live = of("ClickHouse", "live rollups")
    if not live.is_empty():
        began = time.monotonic()
        positions, hours = repair_live(settings, stores, live, progress)
        report.count("ClickHouse positions", positions)
        report.count("live rollups hours", hours)
        of_progress = live.filter(pl.col("place").str.starts_with("live_progress"))
        report.count("live_progress partitions", of_progress["place"].n_unique())
        seconds = time.monotonic() - began
        progress(f"ClickHouse: {positions:,} positions, live rollups of {hours:,} hours written again, {seconds:.1f} s")
    if "archive" in mine:
        with _step("archive", "parts and hours", report, progress) as done:
            done.append(repair_archive(stores, mine["archive"]))
    sealed = of("slices", "sealed rollups", "seals")
    if not sealed.is_empty():
        with _step("sealed", "buckets", report, progress) as done:
            done.append(repair_sealed(stores, sealed))


@contextmanager
def _step(store: str, unit: str, report: RepairReport, progress: Progress) -> Iterator[list[int]]:
    """Tell what a step has written, and how long it took."""
    began, done = time.monotonic(), list[int]()
    yield done
    report.count(f"{store} {unit}", sum(done))
    progress(f"{store}: {sum(done):,} {unit} written again, {time.monotonic() - began:.1f} s")
