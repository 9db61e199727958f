"""Put the raw store right at some log positions.

Belongs here: forgetting what is wrong and writing what the log says. Does not belong here: deciding what is wrong.
"""

from __future__ import annotations

import threading
import uuid

import polars as pl

from orchestration.repair.positions import batch_of, known, truths
from resources.raw_store.base import QuarantineFilter, QuarantineStatus, RawStore, position_id
from serving.audit.places import positions_of
from serving.audit.stores import AuditStores
from streaming.worker.raw import RawWriter

_IDS = 10_000


def repair_raw(stores: AuditStores, findings: pl.DataFrame) -> int:
    """Write the findings' positions again; returns how many. What people decided about quarantined rows is kept."""
    positions = positions_of(findings)
    pieces = [(truth, known(truth, positions)) for truth in truths(stores, positions)]
    decided = _decisions(stores.raw_store, positions)
    for _, mine in pieces:  # first all of them: a row that was moved holds the identity of the one that is missing
        stores.raw_store.forget(mine)
    writer = RawWriter(stores.raw_store, threading.Event())
    for truth, mine in pieces:
        batch = batch_of(truth, mine)
        if batch.rows:
            writer.write(batch, f"repair/{uuid.uuid4()}", recovering=False)
    for status, note, ids in decided:
        stores.raw_store.mark_quarantine(ids, status, note)
    return sum(mine.height for _, mine in pieces)


def _decisions(store: RawStore, positions: pl.DataFrame) -> list[tuple[QuarantineStatus, str, list[str]]]:
    decided: list[tuple[QuarantineStatus, str, list[str]]] = []
    for some in positions.iter_slices(_IDS):
        ids = [position_id(*place) for place in some.iter_rows()]
        rows = store.quarantine(QuarantineFilter(ids=ids, status=None, limit=len(ids)))
        by_decision = rows.filter(pl.col("status") != "open").group_by("status", "note").agg("id")
        decided += list(by_decision.iter_rows())
    return decided
