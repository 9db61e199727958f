"""The archive's interface: immutable Parquet parts by ingest hour, each with a manifest that proves it.

Belongs here: the types and promises. Does not belong here: which rows belong in a part.

    raw/ingest_date=2024-05-01/ingest_hour=12/user-events-p0-0-2500_p1-0-2431.5d41402a.parquet   the rows
    raw/ingest_date=2024-05-01/ingest_hour=12/user-events-p0-0-2500_p1-0-2431.json               the manifest

A part exists when its manifest exists: the Parquet object is written first, the manifest second, so a crash leaves an
orphan object and never half a part. The object's name ends in the start of its SHA-256, so a part that is written again
with other rows switches from one whole object to another when its manifest is replaced.

A part replaces every part of its hour whose ranges it covers; those are no longer live from that instant, whether they
are deleted yet or not. Parts that overlap without one covering the other are refused when written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import polars as pl

from resources.raw_store.base import PositionRange


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """One Parquet object. `contents[(event hour, network)]` is its row count for that slice; hours are UTC starts.

    `ranges` are in order of topic, partition and start, and neighbouring ones are joined. `replaces` are the paths of
    the objects this part stands for; they may be gone already.
    """

    path: str
    ingest_hour: datetime
    ranges: tuple[PositionRange, ...]
    rows: int
    bytes: int
    sha256: str
    contents: dict[tuple[datetime, str], int] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()


class ArchiveError(Exception):
    """The archive refused; the message names the object and the cause."""


class ArchiveUnavailableError(ArchiveError):
    """Transient: the object store does not answer, or its disk is full. Every write is safe to repeat."""


class ArchiveOverlapError(ArchiveError):
    """A part would hold some positions of another part of its hour without holding all of them."""


class ArchiveCorruptError(ArchiveError):
    """An object's bytes or rows differ from its manifest, or it is gone."""


class Archive(Protocol):
    """Chosen by URL (`file:///…`, `s3://bucket/prefix`) with `resources.archive.open_archive`. Thread-safe."""

    url: str

    def write_part(self, ingest_hour: datetime, events: pl.DataFrame, ranges: Sequence[PositionRange]) -> ArchivePart:
        """Write events (STORED_SCHEMA), all of them inside `ranges`, each position once. Durable on return.

        The part's identity is derived from the ranges, so a repeat replaces the same part, and equal rows give equal
        bytes. No events is a part too: it proves that the ranges hold none. Ranges that one live part covers already
        (a repeat after a compaction) write nothing and return that part. Raises ArchiveOverlapError for ranges that cut
        through a live part, and ArchiveError for rows outside the ranges.
        """
        ...

    def parts(self, ingest_hour: datetime | None = None) -> list[ArchivePart]:
        """Live parts (those that no other replaces), ordered by ingest hour and path.

        Raises ArchiveCorruptError for a manifest that cannot be read.
        """
        ...

    def read(
        self,
        parts: Sequence[ArchivePart],
        event_hours: tuple[datetime, datetime] | None = None,
        network: str | None = None,
    ) -> pl.LazyFrame:
        """Events of these parts, optionally of `[start, end)` by event_time and one network; nothing is read yet.

        No position comes out twice, even where given parts overlap: it is taken from the first part that holds it.
        Parts whose `contents` have nothing to give are not opened. Raises ArchiveCorruptError when an object is gone or
        its length differs from its manifest; only `verify` looks at every byte.
        """
        ...

    def verify(self, part: ArchivePart) -> None:
        """Raise ArchiveCorruptError when SHA-256 or row count disagree with the manifest."""
        ...

    def inspect(self) -> tuple[list[ArchivePart], dict[str, str]]:
        """Like `parts` of all hours, with what is wrong, by path, of manifests that cannot be read. Raises nothing."""
        ...

    def salvage(self, part: ArchivePart) -> pl.LazyFrame:
        """Whatever the part's object still holds, unproven: for saying what is wrong with it.

        Collecting it raises FileNotFoundError or a PolarsError when the object is gone or is no Parquet file.
        """
        ...

    def discard(self, path: str) -> None:
        """Delete a manifest that `inspect` found to be unreadable. Raises ArchiveError for one that can be read."""
        ...

    def compact(self, ingest_hour: datetime) -> ArchivePart | None:
        """Merge an hour's live parts into one, verifying each; None when there are fewer than two.

        The new manifest names what it replaces before that is deleted. Replaced objects stay for a while (readers may
        hold them) and go with a later `compact` or `sweep`.
        """
        ...

    def sweep(self) -> int:
        """Delete replaced parts and orphan objects that are old enough; returns how many objects went."""
        ...

    def ping(self) -> None:
        """Raise ArchiveUnavailableError when the object store does not answer."""
        ...
