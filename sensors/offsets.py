"""The event-log sensor's arithmetic: what the raw group has read since the cursor, split by ingest hour and capped.

Belongs here: the cursor, and from offsets to a request. Does not belong here: Dagster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from assets.partitions import HOUR, hour_start
from assets.positions import intersect, split, subtract, total
from assets.raw_events.ranges import window_ranges
from resources.event_log.base import EventLog, OffsetRange, TopicPartition
from resources.raw_store.base import PositionRange

CURSOR_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next offset to archive per partition. A partition that is absent starts at the log's low watermark."""

    offsets: Mapping[TopicPartition, int] = field(default_factory=dict)

    def dump(self) -> str:
        """As JSON with a version, so that a later release can read it."""
        offsets = {f"{place.topic}/{place.partition}": offset for place, offset in sorted(self.offsets.items())}
        return json.dumps({"version": CURSOR_VERSION, "offsets": offsets}, separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Cursor:
        """Raises ValueError naming the text when it is not a cursor of this version."""
        if not text:
            return cls()
        try:
            found = json.loads(text)
            if found["version"] != CURSOR_VERSION:
                raise ValueError(f"version {found['version']}")
            places = {name.rpartition("/"): int(offset) for name, offset in found["offsets"].items()}
            return cls({TopicPartition(topic, int(part)): offset for (topic, _, part), offset in places.items()})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"the sensor's cursor {text[:200]!r} is not of version {CURSOR_VERSION} ({error}); "
                "reset it in the UI: what is archived already is not archived again"
            ) from error


@dataclass(frozen=True, slots=True)
class Request:
    """What one run shall archive: ranges by ingest hour, and the cursor after it."""

    hours: Mapping[datetime, Sequence[PositionRange]]
    cursor: Cursor
    left: int

    @property
    def messages(self) -> int:
        return sum(total(ranges) for ranges in self.hours.values())

    @property
    def digest(self) -> str:
        """Short name of exactly these ranges, for a run's tag."""
        return hashlib.sha256(repr(sorted(self.hours.items())).encode()).hexdigest()[:12]


def pending(log: EventLog, cursor: Cursor, commits: Mapping[TopicPartition, int]) -> list[PositionRange]:
    """What the group has read and the cursor has not passed, clipped to what the log still has.

    A cursor beyond the log's end (the log was made anew) starts again at the low watermark.
    """
    ranges = []
    marks = {topic: log.watermarks(topic) for topic in {place.topic for place in commits}}
    for place, commit in sorted(commits.items()):
        low, high = marks[place.topic][place.partition]
        start = cursor.offsets.get(place, low)
        start = low if start > high else max(start, low)
        if min(commit, high) > start:
            ranges.append(PositionRange(place.topic, place.partition, start, min(commit, high)))
    return ranges


def plan(log: EventLog, cursor: Cursor, ranges: Sequence[PositionRange], most: int, most_hours: int = 24) -> Request:
    """Split pending ranges by ingest hour, oldest first, until there are `most` messages or `most_hours` hours."""
    hours: dict[datetime, list[PositionRange]] = {}
    rest, room = list(ranges), most
    while rest and room > 0 and len(hours) < most_hours:
        hour = hour_start(_oldest(log, rest))
        inside = intersect(rest, window_ranges(log, hour, hour + HOUR, sorted({r.log_topic for r in rest})))
        if not inside:
            break
        taken = split(inside, room)[0]
        hours[hour] = taken
        rest, room = subtract(rest, taken), room - total(taken)
    offsets = dict(cursor.offsets)
    for taken in hours.values():
        for where in taken:
            place = TopicPartition(where.log_topic, where.log_partition)
            offsets[place] = where.end  # a partition's ranges come in order, the last one stands
    return Request(hours, Cursor(offsets), total(rest))


def _oldest(log: EventLog, ranges: Sequence[PositionRange]) -> datetime:
    heads = [OffsetRange(where.log_topic, where.log_partition, where.start, where.start + 1) for where in ranges]
    times = [time for messages in log.read(heads) for time in messages.timestamps]
    if not times:
        raise LookupError(f"the log has no message at the start of {ranges[0]} although its watermarks say so")
    return datetime.fromtimestamp(min(times) / 1000, UTC)
