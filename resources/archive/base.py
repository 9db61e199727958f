"""The archive's interface: immutable Parquet parts by ingest hour, each with a manifest that proves it.

Belongs here: part naming, manifests, verification, scanning. Does not belong here: which rows belong in a part.
A part exists when its manifest exists: the Parquet object is written first, `<part>.json` second, so a crash leaves an
orphan object and never half a part.
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
    """One Parquet object. `contents[(event hour, network)]` is its row count for that slice; hours are UTC starts."""

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


class ArchiveCorruptError(ArchiveError):
    """An object's bytes or rows differ from its manifest, or it is gone."""


class Archive(Protocol):
    """Chosen by URL (`file:///…`, `s3://bucket/prefix`) with `resources.archive.open_archive`."""

    url: str

    def write_part(self, ingest_hour: datetime, events: pl.DataFrame, ranges: Sequence[PositionRange]) -> ArchivePart:
        """Write events (STORED_SCHEMA). The path is derived from the ranges, so a repeat replaces the same part."""
        ...

    def parts(self, ingest_hour: datetime | None = None) -> list[ArchivePart]:
        """Live parts (those that no compaction replaced), ordered by ingest hour and path."""
        ...

    def read(self, parts: Sequence[ArchivePart], event_hours: tuple[datetime, datetime] | None = None,
             network: str | None = None) -> pl.LazyFrame:
        """Events of these parts, optionally of `[start, end)` by event_time and one network."""
        ...

    def verify(self, part: ArchivePart) -> None:
        """Raise ArchiveCorruptError when SHA-256 or row count disagree with the manifest."""
        ...

    def compact(self, ingest_hour: datetime) -> ArchivePart | None:
        """Merge an hour's parts into one. The new manifest names what it replaces before that is deleted."""
        ...

    def ping(self) -> None: ...
