"""One ingest hour: account for it, archive it, index it; close it when it is over.

Belongs here: the order of the steps. Does not belong here: Dagster.

Every step looks at what is there before it acts, so a run that was killed anywhere is repeated by running it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from assets.archive_index import sync
from assets.partitions import HOUR
from assets.positions import merge
from assets.raw_events.account import reconcile
from assets.raw_events.archiving import Archived, archive_ranges, close_hour, covered
from assets.raw_events.ranges import hour_ranges, wait_until_read, within_hour
from resources.archive.base import Archive, ArchiveOverlapError
from resources.clickhouse import Client
from resources.crashpoints import crashpoint
from resources.event_log.base import EventLog, OffsetRange
from resources.raw_store.base import PositionRange, RawStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The four stores that an ingest hour goes through."""

    log: EventLog
    raw_store: RawStore
    archive: Archive
    clickhouse: Client


@dataclass(frozen=True, slots=True)
class HourResult:
    """What was done about one ingest hour. `account` has ACCOUNT_SCHEMA; `lag` is in seconds."""

    hour: datetime
    ranges: Sequence[PositionRange]
    account: pl.DataFrame
    archived: Archived
    closed: bool
    waited: float
    lag: float | None


def archive_hour(
    stores: Stores,
    hour: datetime,
    now: datetime,
    given: Sequence[PositionRange] | None = None,
    wait_seconds: float = 30.0,
) -> HourResult:
    """Bring an ingest hour, or exactly the given ranges of it, into the archive.

    Without ranges the whole hour is done as far as the log has it, and an hour that is over is closed: its parts become
    one. Raises NotConsumedError when the raw group has not read the ranges within `wait_seconds`.
    """
    if given is None:
        ranges = merge([*hour_ranges(stores.log, hour), *covered(stores.archive.parts(hour))])
    else:
        ranges = within_hour(stores.log, hour, given)
    waited = wait_until_read(stores.log, ranges, wait_seconds)
    account = reconcile(stores.raw_store, stores.log, ranges)
    archived = _archive(stores, hour, ranges)
    crashpoint("raw_events.archived")
    over = given is None and now >= hour + HOUR
    if over:
        closed = close_hour(stores.archive, hour)
        archived = Archived(closed.parts, (*archived.written, *closed.written), closed.retired)
        crashpoint("raw_events.closed")
    sync(stores.clickhouse, stores.archive, hour)
    return HourResult(hour, ranges, account, archived, over, waited, _lag(stores.log, ranges, now))


def _archive(stores: Stores, hour: datetime, ranges: Sequence[PositionRange]) -> Archived:
    try:
        return archive_ranges(stores.archive, stores.raw_store, hour, ranges)
    except ArchiveOverlapError:
        # Another run of this hour wrote a part between our look and our write: look again.
        return archive_ranges(stores.archive, stores.raw_store, hour, ranges)


def _lag(log: EventLog, ranges: Sequence[PositionRange], now: datetime) -> float | None:
    """Seconds from the appending of the newest message of the ranges until now; None where the log has none of them."""
    last = [OffsetRange(where.log_topic, where.log_partition, where.end - 1, where.end) for where in ranges]
    times = [time for messages in log.read(last) for time in messages.timestamps]
    return round(now.timestamp() - max(times) / 1000, 3) if times else None
