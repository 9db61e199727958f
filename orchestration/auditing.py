"""The audit over the stores of the settings: opening them, and the rules of other rooms that it needs.

Belongs here: putting `serving.audit` together with decoding (`streaming`) and filtering (`assets`). Does not belong
here: comparing (`serving.audit`), repairing (`orchestration.repair`), Dagster: the auditor process must stay small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import polars as pl

from assets.connector_slices.filtering import admit
from assets.engagement.statements import seal_checksum
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, raw_store
from resources.archive import Archive, open_archive
from resources.clickhouse import Client, open_clickhouse
from resources.event_log.base import EventLog, Messages, OffsetRange
from resources.raw_store.base import RawStore
from serving.audit.engine import AuditScope
from serving.audit.findings import STORES
from serving.audit.stores import AuditStores
from streaming.worker.batch import batch_of
from streaming.worker.decode import decode_batch


def audit_stores(log: EventLog, raw: RawStore, archive: Archive, clickhouse: Client) -> AuditStores:
    """Stores that are open already, with our rules."""
    return AuditStores(log, raw, archive, clickhouse, decode=decode, admit=admit, seal_checksum=seal_checksum)


@contextmanager
def open_audit_stores(settings: Settings) -> Iterator[AuditStores]:
    """The stores of the settings for the time of the block. Raises what opening them raises."""
    with event_log(settings) as log, raw_store(settings) as raw:
        client = open_clickhouse(settings.clickhouse_url)
        try:
            yield audit_stores(log, raw, open_archive(settings.archive_url), client)
        finally:
            client.close()


def decode(messages: Sequence[Messages]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages to events (STORED_SCHEMA) and refused rows (STORED_REJECT_SCHEMA), as the input workers read them."""
    ranges = [OffsetRange(piece.topic, piece.partition, piece.offsets[0], piece.offsets[-1] + 1) for piece in messages]
    decoded = decode_batch(batch_of(messages, ranges))
    return decoded.events, decoded.rejects


def scope_between(
    log: EventLog, period: tuple[datetime, datetime] | None = None, stores: Sequence[str] | None = None
) -> AuditScope:
    """What to look at: messages appended in `[start, end)`, and event hours that it touches. None means everything."""
    from assets.raw_events.ranges import window_ranges  # with Dagster, which the auditor process does without

    chosen = [store for store in STORES if stores is None or store in stores]
    if period is None:
        return AuditScope(stores=chosen)
    start, end = period
    first = start.replace(minute=0, second=0, microsecond=0)
    return AuditScope(chosen, window_ranges(log, start, end), first, end)
