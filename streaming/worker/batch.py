"""Gathering messages into batches: by size or by age, over all partitions, in an order that can be rebuilt.

Belongs here: which messages make the next batch. Does not belong here: decoding or writing them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resources.event_log.base import Messages, OffsetRange, TopicPartition
from streaming.worker.announcement import fits


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages ordered by topic, partition, offset, and the ranges they fill. Reading the ranges gives them again."""

    ranges: tuple[OffsetRange, ...]
    messages: tuple[Messages, ...]
    rows: int

    @property
    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(r.topic, r.partition) for r in self.ranges]


def batch_of(messages: Iterable[Messages], ranges: Iterable[OffsetRange]) -> Batch:
    """Bring messages that were read anywhere, in chunks of any size, into the batch's one order."""
    pieces: dict[TopicPartition, list[Messages]] = {}
    for piece in messages:
        pieces.setdefault(TopicPartition(piece.topic, piece.partition), []).append(piece)
    merged = tuple(_merge(sorted(pieces[place], key=lambda piece: piece.offsets[0])) for place in sorted(pieces))
    return Batch(tuple(sorted(ranges)), merged, sum(map(len, merged)))


class Assembler:
    """Holds what was polled and not yet taken. `max_rows` and `max_bytes` bound its memory: poll at most `room()`."""

    def __init__(
        self, max_rows: int, max_bytes: int, linger: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._linger = linger
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        self._pieces: dict[TopicPartition, list[Messages]] = {}
        self._rows = 0
        self._bytes = 0
        self._since: float | None = None

    def add(self, polled: Iterable[Messages]) -> None:
        for piece in polled:
            if not len(piece):
                continue
            self._pieces.setdefault(TopicPartition(piece.topic, piece.partition), []).append(piece)
            self._rows += len(piece)
            self._bytes += _size(piece)
            if self._since is None:
                self._since = self._clock()

    def room(self) -> int:
        """How many messages more this batch would take; 0 when it is full."""
        return 0 if self._bytes >= self._max_bytes else max(0, self._max_rows - self._rows)

    def remaining_linger(self) -> float:
        """Seconds until the batch is ready by age; the whole linger when nothing is held."""
        if self._since is None:
            return self._linger
        return max(0.0, self._linger - (self._clock() - self._since))

    def ready(self) -> bool:
        return self._rows > 0 and (self.room() == 0 or self.remaining_linger() == 0.0)

    @property
    def rows(self) -> int:
        return self._rows

    def holds(self, place: TopicPartition) -> bool:
        return place in self._pieces

    def take(self, positions: dict[TopicPartition, int]) -> Batch:
        """Take the batch. A range starts at the group's position, so ranges leave no hole between batches.

        Partitions beyond what one announcement can name stay for the next batch.
        """
        taken: dict[TopicPartition, list[Messages]] = {}
        topics: set[str] = set()
        for place in sorted(self._pieces):
            if not fits({*topics, place.topic}, len(taken) + 1):
                break
            topics.add(place.topic)
            taken[place] = self._pieces[place]
        left = [piece for place, pieces in self._pieces.items() if place not in taken for piece in pieces]
        ranges = [
            OffsetRange(*place, positions.get(place, pieces[0].offsets[0]), pieces[-1].offsets[-1] + 1)
            for place, pieces in taken.items()
        ]
        since = self._since
        self.clear()
        self.add(left)
        if left:
            self._since = since
        return batch_of((piece for pieces in taken.values() for piece in pieces), ranges)


def _size(piece: Messages) -> int:
    return sum(len(value) for value in piece.values if value is not None)


def _merge(pieces: list[Messages]) -> Messages:
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    return Messages(
        first.topic,
        first.partition,
        [offset for piece in pieces for offset in piece.offsets],
        [timestamp for piece in pieces for timestamp in piece.timestamps],
        [key for piece in pieces for key in piece.keys],
        [value for piece in pieces for value in piece.values],
    )
