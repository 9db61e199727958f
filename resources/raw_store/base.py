"""The raw store's interface: every event once, every refused row, and where in the log each was read.

Belongs here: the types and promises of `sqlite` and `mongodb`. Does not belong here: deciding whether a row is valid.
Identity is `(workspace, event_id)`: two tenants may use the same id. For every log position the store holds exactly one
verdict, as a document: stored, duplicate or quarantined. The account is therefore a query, never a counter.
The first verdict of a position stands: a row offered again later, with whatever other verdict, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import polars as pl

QuarantineStatus = Literal["open", "replayed", "discarded"]


class PositionRange(NamedTuple):
    """Log positions of one partition with `start <= offset < end`."""

    log_topic: str
    log_partition: int
    start: int
    end: int


class VerdictCounts(NamedTuple):
    stored: int
    duplicate: int
    quarantined: int

    @property
    def total(self) -> int:
        return self.stored + self.duplicate + self.quarantined


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """All given conditions must hold. Times are half-open on `first_seen`, UTC."""

    ids: Sequence[str] | None = None
    reason: str | None = None
    workspace: str | None = None
    network: str | None = None
    status: QuarantineStatus | None = "open"
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 1000


class RawStoreError(Exception):
    """The store refused; the message names the store and the cause."""


class RawStoreUnavailableError(RawStoreError):
    """Transient: the store does not answer, or its disk is full. Every write is safe to repeat."""


class RowsRefusedError(RawStoreError):
    """The store names a value that it cannot keep: the rows are at fault, and single ones may be set aside."""


class RawStoreConflictError(RawStoreUnavailableError):
    """A log position holds another event already: the log was recreated under this store. Nothing was written.

    No row is at fault, so none may be set aside: writers wait, as for a store that is down, until a person has pointed
    the new log at a new store, or has put the old log back.
    """


RECEIPT_ROWS_SCHEMA: dict[str, pl.DataType] = {
    "verdict": pl.String(),
    "workspace": pl.String(),
    "event_id": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "place": pl.String(),
    "log_topic": pl.String(),
    "log_partition": pl.Int32(),
    "log_offset": pl.Int64(),
}


class RawStore(Protocol):
    """A store chosen by URL with `resources.raw_store.open_raw_store`. Thread-safe; several processes may share it.

    Every method raises RawStoreUnavailableError when the store cannot be reached and RawStoreError when it refuses.
    """

    url: str
    """Where the store is, without user and password: for messages."""

    def ensure_schema(self) -> None:
        """Make tables or collections and indexes where they are missing. Needed once before anything else."""
        ...

    def put_events(self, events: pl.DataFrame) -> VerdictCounts:
        """Write events (STORED_SCHEMA), the first of each `(workspace, event_id)` wins; the others become duplicates.

        Durable on return. The counts sum to the rows given. Within a call the lowest position (topic, partition,
        offset) is the first. Repeating a write changes nothing: a row met again at its own position is `stored` again,
        not a duplicate, and a position that was quarantined before stays `quarantined`.
        Raises RawStoreConflictError when a position already holds another event.
        """
        ...

    def put_quarantine(self, rejects: pl.DataFrame) -> None:
        """Write refused rows (REJECT_SCHEMA + POSITION_SCHEMA), keyed by position; a repeat moves `last_seen` only.

        Durable on return. A position whose row was stored or found duplicate before keeps that verdict.
        """
        ...

    def verdicts(self, ranges: Sequence[PositionRange]) -> dict[PositionRange, VerdictCounts]:
        """Positions of each range by verdict. Counted over an index: a range may span millions."""
        ...

    def missing_offsets(self, where: PositionRange, limit: int = 1000) -> list[int]:
        """Offsets of the range without any verdict, ascending; the first `limit` of them."""
        ...

    def read_events(self, ranges: Sequence[PositionRange], chunk: int = 50_000) -> Iterator[pl.DataFrame]:
        """Yield stored events (STORED_SCHEMA), at most `chunk` rows each, ranges in the order given, offsets ascending.

        Never an empty frame. Not a snapshot: read ranges whose account is closed.
        """
        ...

    def read_duplicates(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        """Duplicate verdicts of the ranges: POSITION_SCHEMA, `workspace`, `event_id`, `receipt_id`, in no order."""
        ...

    def read_refused(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        """Quarantined rows of the ranges, whatever their status: REJECT_SCHEMA + POSITION_SCHEMA, in no order."""
        ...

    def positions_of(self, identities: pl.DataFrame) -> pl.DataFrame:
        """Where the events with these `workspace`, `event_id` are stored: both, and POSITION_SCHEMA.

        An identity that is not stored is absent.
        """
        ...

    def forget(self, positions: pl.DataFrame) -> int:
        """Delete every verdict of these positions (POSITION_SCHEMA), rows and all; return how many there were.

        Only for a repair that writes the same positions again from the log or the archive right after.
        """
        ...

    def get_event(self, workspace: str, event_id: str) -> dict[str, object] | None:
        """One stored event by identity, keys as in STORED_SCHEMA, times aware in UTC; None when there is none."""
        ...

    def receipt(self, receipt_id: str) -> Mapping[str, object]:
        """`{"stored": n, "duplicate": n, "quarantined": n, "reasons": {reason: n}}` of one request or file load.

        All zero for an id nothing was stored under.
        """
        ...

    def receipt_rows(self, receipt_id: str, limit: int = 1000) -> pl.DataFrame:
        """The verdicts behind `receipt` (RECEIPT_ROWS_SCHEMA), ordered by position, the first `limit` of them.

        `verdict` is stored, duplicate or quarantined. `event_id` is '' for a refused row; `reason`, `detail` and
        `place` are '' for the others.
        """
        ...

    def quarantine(self, where: QuarantineFilter) -> pl.DataFrame:
        """Rows with REJECT_SCHEMA, position, `id`, `status`, `attempts`, `first_seen`, `last_seen`, `note`.

        `id` is `topic/partition@offset`. `attempts` is 1, and one more for each time it was marked replayed.
        `first_seen` and `last_seen` (UTC) are when this store got the row. Ordered by `first_seen`, then position.
        """
        ...

    def quarantine_counts(self) -> pl.DataFrame:
        """`status`, `reason`, `network`, `rows`, `first_seen`, `last_seen`, ordered by the first three."""
        ...

    def mark_quarantine(self, ids: Sequence[str], status: QuarantineStatus, note: str) -> int:
        """Set the status of these rows and return how many there are; unknown ids are left out of the number.

        Raises RawStoreError for an id that is not `topic/partition@offset`.
        """
        ...

    def ping(self) -> None:
        """Raise RawStoreUnavailableError when the store does not answer."""
        ...

    def close(self) -> None:
        """Release connections. The store opens new ones if it is used again."""
        ...


def position_id(log_topic: str, log_partition: int, log_offset: int) -> str:
    """The text by which people and commands name a position: `content-events/2@1841`."""
    return f"{log_topic}/{log_partition}@{log_offset}"


def parse_position_id(text: str) -> tuple[str, int, int]:
    """The inverse of `position_id`. Raises RawStoreError naming the text when it is not one."""
    place, _, offset = text.rpartition("@")
    topic, _, partition = place.rpartition("/")
    if not (topic and _is_number(partition) and _is_number(offset)):
        raise RawStoreError(f"{text!r} is not a quarantine id; ids look like content-events/2@1841")
    return topic, int(partition), int(offset)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
