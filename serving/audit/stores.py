"""What an audit works on: the stores, the two rules that belong to other rooms, and the units it looks at.

Belongs here: the types and cutting the log into units. Does not belong here: comparing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from contracts.event_types import TOPICS
from resources.archive.base import Archive
from resources.archive.ranges import common, joined, without
from resources.clickhouse import Client
from resources.event_log.base import EventLog, Messages, TopicPartition
from resources.raw_store.base import PositionRange, RawStore

RAW_GROUP = "raw"
LIVE_GROUP = "live"
UNIT = 20_000
"""Offsets that are looked at together: bounds an audit's memory to some 100 MB of wide rows."""

Decode = Callable[[Sequence[Messages]], tuple[pl.DataFrame, pl.DataFrame]]
"""Messages to events (STORED_SCHEMA) and refused rows (STORED_REJECT_SCHEMA), as the input workers read them."""
Admit = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""Events and `bucket, network, first_sealed_at` to the events that the first filter lets into their slice."""
SealChecksum = Callable[[str, Sequence[tuple[datetime, int]]], int]
"""Rollup dataset, and its sources' buckets and checksums in order of time, to the checksum of its seal."""


@dataclass(frozen=True, slots=True)
class AuditStores:
    """The stores of one platform, and how it reads messages and filters slices."""

    log: EventLog
    raw_store: RawStore
    archive: Archive
    clickhouse: Client
    decode: Decode
    admit: Admit
    seal_checksum: SealChecksum


@dataclass(frozen=True, slots=True)
class Reach:
    """How far each side is: what groups have committed, and where the log begins. Read before anything else."""

    raw: dict[TopicPartition, int] = field(default_factory=dict)
    live: dict[TopicPartition, int] = field(default_factory=dict)
    low: dict[TopicPartition, int] = field(default_factory=dict)
    high: dict[TopicPartition, int] = field(default_factory=dict)

    def taken(self, ranges: Sequence[PositionRange], group: str) -> tuple[PositionRange, ...]:
        """The part of the ranges that a group has committed: what lies beyond is on its way."""
        commits = self.raw if group == RAW_GROUP else self.live
        return common(ranges, [PositionRange(*place, 0, offset) for place, offset in commits.items()])

    def kept(self, ranges: Sequence[PositionRange]) -> tuple[PositionRange, ...]:
        """The part of the ranges of which the log can tell: what it has, and that beyond its end there is nothing.

        What is absent in between is a matter of its own: `judge`.
        """
        return joined(
            where._replace(start=max(where.start, self.low.get(TopicPartition(*where[:2]), 0))) for where in ranges
        )

    def readable(self, ranges: Sequence[PositionRange]) -> tuple[PositionRange, ...]:
        """The part of the ranges that the log has."""
        return common(self.kept(ranges), [PositionRange(*place, 0, end) for place, end in self.high.items()])

    def gone(self, ranges: Sequence[PositionRange]) -> tuple[PositionRange, ...]:
        """The part of the ranges that the log has let go of."""
        return without(joined(ranges), self.kept(ranges))

    def everything(self) -> tuple[PositionRange, ...]:
        """Every offset that a group has committed."""
        ends: dict[TopicPartition, int] = {}
        for commits in (self.raw, self.live):
            for place, offset in commits.items():
                ends[place] = max(ends.get(place, 0), offset)
        return joined(PositionRange(*place, 0, end) for place, end in ends.items())


def read_reach(log: EventLog, topics: Sequence[str] = TOPICS) -> Reach:
    """Ask the log how far the groups are."""
    commits = {
        group: {place: commit.offset for place, commit in log.group_commits(group).items() if place.topic in topics}
        for group in (RAW_GROUP, LIVE_GROUP)
    }
    marks = {
        TopicPartition(topic, partition): ends for topic in topics for partition, ends in log.watermarks(topic).items()
    }
    return Reach(
        commits[RAW_GROUP],
        commits[LIVE_GROUP],
        low={place: first for place, (first, _) in marks.items()},
        high={place: end for place, (_, end) in marks.items()},
    )


def units(ranges: Sequence[PositionRange], most: int = UNIT, *, newest_first: bool = False) -> Iterator[PositionRange]:
    """Cut ranges into pieces at fixed multiples of `most` offsets, so that the same pieces come again each time."""
    pieces = [
        where._replace(start=max(where.start, start), end=min(where.end, start + most))
        for where in joined(ranges)
        for start in range(where.start - where.start % most, where.end, most)
    ]
    yield from sorted(pieces, key=lambda piece: -piece.end) if newest_first else pieces


def groups(ranges: Sequence[PositionRange], most: int = UNIT) -> Iterator[tuple[PositionRange, ...]]:
    """Pieces packed together up to about `most` offsets: short partitions cost one question for all of them."""
    held: list[PositionRange] = []
    size = 0
    for piece in units(ranges, most):
        length = piece.end - piece.start
        if held and size + length > most:
            yield tuple(held)
            held, size = [], 0
        held.append(piece)
        size += length
    if held:
        yield tuple(held)
