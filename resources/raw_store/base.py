"""The raw store's interface: every event once, every refused row, and where in the log each was read.

Belongs here: the types and promises of `sqlite` and `mongodb`. Does not belong here: deciding whether a row is valid.
Identity is `(workspace, event_id)`: two tenants may use the same id. For every log position the store holds exactly one
verdict, as a document: stored, duplicate or quarantined. The account is therefore a query, never a counter.
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


class RawStore(Protocol):
    """A store chosen by URL with `resources.raw_store.open_raw_store`. Thread-safe."""

    url: str

    def ensure_schema(self) -> None: ...

    def put_events(self, events: pl.DataFrame) -> VerdictCounts:
        """Write events (STORED_SCHEMA), the first of each `(workspace, event_id)` wins; the others become duplicates.

        Repeating a write changes nothing: a row met again at its own position is `stored` again, not a duplicate.
        """
        ...

    def put_quarantine(self, rejects: pl.DataFrame) -> None:
        """Write refused rows (REJECT_SCHEMA + POSITION_SCHEMA), keyed by position; a repeat moves `last_seen` only."""
        ...

    def verdicts(self, ranges: Sequence[PositionRange]) -> dict[PositionRange, VerdictCounts]: ...

    def missing_offsets(self, where: PositionRange, limit: int = 1000) -> list[int]:
        """Offsets of the range without any verdict, ascending."""
        ...

    def read_events(self, ranges: Sequence[PositionRange], chunk: int = 50_000) -> Iterator[pl.DataFrame]:
        """Yield stored events (STORED_SCHEMA) by position, ascending within a partition."""
        ...

    def get_event(self, workspace: str, event_id: str) -> dict[str, object] | None: ...

    def receipt(self, receipt_id: str) -> Mapping[str, object]:
        """`{"stored": n, "duplicate": n, "quarantined": n, "reasons": {reason: n}}` of one request or file load."""
        ...

    def quarantine(self, where: QuarantineFilter) -> pl.DataFrame:
        """Rows with REJECT_SCHEMA, position, `id`, `status`, `attempts`, `first_seen`, `last_seen`."""
        ...

    def quarantine_counts(self) -> pl.DataFrame:
        """`status`, `reason`, `network`, `rows`, `first_seen`, `last_seen`."""
        ...

    def mark_quarantine(self, ids: Sequence[str], status: QuarantineStatus, note: str) -> int: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...
