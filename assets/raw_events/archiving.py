"""Write an hour's stored events into Parquet parts, each position once, however often and from wherever it is asked.

Belongs here: deciding which ranges still need a part. Does not belong here: file formats (`resources.archive`).

The archive's manifests are the memory: a range that a part covers is not written again. A part is rewritten when the
raw store holds more of its range than the part does (a row came back after a loss), and never when it holds less:
then the archive is what remains of the rows, and the check `stores_agree` names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from assets.positions import merge, overlaps, split, subtract
from contracts.envelope import STORED_SCHEMA
from resources.archive.base import Archive, ArchivePart
from resources.raw_store.base import PositionRange, RawStore

MOST_OFFSETS_PER_PART = 250_000
"""Bounds the memory of one part: about 300 MB of rows at 1.2 KB each."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archiving pass did: parts that cover the hour now, those of them it wrote, and paths that are gone."""

    parts: tuple[ArchivePart, ...]
    written: tuple[ArchivePart, ...] = ()
    retired: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def ranges(self) -> list[PositionRange]:
        return covered(self.parts)


def covered(parts: Sequence[ArchivePart]) -> list[PositionRange]:
    """Positions that the parts account for, rows or not: a duplicate's offset is covered without a row."""
    return merge(where for part in parts for where in part.ranges)


def archive_ranges(
    archive: Archive,
    raw_store: RawStore,
    hour: datetime,
    ranges: Sequence[PositionRange],
    most_offsets: int = MOST_OFFSETS_PER_PART,
) -> Archived:
    """Bring the ranges into the archive, and nothing twice."""
    present = archive.parts(hour)
    stale = [part for part in present if _has_more(raw_store, part)]
    written = [_write(archive, raw_store, hour, list(part.ranges)) for part in stale]
    groups = split(subtract(ranges, covered(present)), most_offsets)
    written += [_write(archive, raw_store, hour, group) for group in groups]
    return Archived(parts=tuple(archive.parts(hour)), written=tuple(written))


def rewrite_part(archive: Archive, raw_store: RawStore, part: ArchivePart) -> ArchivePart:
    """Write a part's ranges again from the raw store, whatever the part holds: only for a repair."""
    return _write(archive, raw_store, part.ingest_hour, list(part.ranges))


def close_hour(archive: Archive, hour: datetime) -> Archived:
    """Merge the hour's parts into one when there are several, or when two runs at once wrote overlapping ones."""
    before = archive.parts(hour)
    if len(before) < 2 and not overlaps([where for part in before for where in part.ranges]):
        return Archived(parts=tuple(before))
    merged = archive.compact(hour)
    after = tuple(archive.parts(hour))
    gone = {part.path for part in before} - {part.path for part in after}
    return Archived(parts=after, written=(merged,) if merged else (), retired=tuple(sorted(gone)))


def _has_more(raw_store: RawStore, part: ArchivePart) -> bool:
    return sum(counts.stored for counts in raw_store.verdicts(part.ranges).values()) > part.rows


def _write(archive: Archive, raw_store: RawStore, hour: datetime, ranges: list[PositionRange]) -> ArchivePart:
    frames = list(raw_store.read_events(ranges))
    events = pl.concat(frames) if frames else pl.DataFrame(schema=STORED_SCHEMA)
    return archive.write_part(hour, events, ranges)
