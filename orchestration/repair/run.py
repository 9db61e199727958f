"""Audit, repair what was found, audit again, until nothing is found.

Belongs here: the order and the report. Does not belong here: how a store is put right.

Upstream first: raw store and ClickHouse from the log, the archive from the raw store, slices from the archive, rollups
from slices. A wrong value may have been carried on before it was found; then only the next audit sees it downstream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from orchestration.auditing import open_audit_stores
from orchestration.repair.archive import repair_archive
from orchestration.repair.live import repair_live
from orchestration.repair.raw_store import repair_raw
from orchestration.repair.sealed import repair_sealed
from orchestration.settings import Settings
from serving.audit.engine import AuditScope, audit
from serving.audit.findings import none

ROUNDS = 4

Progress = Callable[[str], None]


@dataclass(slots=True)
class RepairReport:
    """`found`: by the first audit. `remaining`: by the last one. `written`: what was written again, by store."""

    found: pl.DataFrame = field(default_factory=none)
    remaining: pl.DataFrame = field(default_factory=none)
    written: dict[str, int] = field(default_factory=dict)
    rounds: int = 0

    def count(self, store: str, rows: int) -> None:
        if rows:
            self.written[store] = self.written.get(store, 0) + rows


def repair(settings: Settings, scope: AuditScope, progress: Progress) -> RepairReport:
    """Audit the scope and put right what differs. Raises StackError when the live worker cannot be paused."""
    report = RepairReport()
    with open_audit_stores(settings) as stores:
        for number in range(ROUNDS + 1):
            progress("audit")
            found = audit(stores, scope).findings
            report.found = found if number == 0 else report.found
            report.remaining = found
            if found.is_empty() or number == ROUNDS:
                break
            report.rounds += 1
            mine = {str(store): part for (store,), part in found.group_by("store", maintain_order=True)}
            if "raw store" in mine:
                progress(f"raw store: {mine['raw store'].height:,} findings")
                report.count("raw store", repair_raw(stores, mine["raw store"]))
            live = pl.concat([none(), *(mine[name] for name in ("ClickHouse", "live rollups") if name in mine)])
            if not live.is_empty():
                progress(f"ClickHouse: {live.height:,} findings")
                report.count("ClickHouse", repair_live(settings, stores, live))
            if "archive" in mine:
                progress(f"archive: {mine['archive'].height:,} findings")
                report.count("archive", repair_archive(stores, mine["archive"]))
            sealed = pl.concat([none(), *(mine[name] for name in ("slices", "sealed rollups") if name in mine)])
            if not sealed.is_empty():
                progress(f"sealed hours: {sealed.height:,} findings")
                report.count("sealed hours", repair_sealed(stores, sealed))
    return report
