"""Which offsets belong to an ingest hour, and whether the raw group has read them.

Belongs here: hours and offsets of the event log. Does not belong here: verdicts or files.
An ingest hour is the hour of appending (the log's own timestamp), so its ranges close for good when it is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from assets.partitions import HOUR
from assets.positions import merge
from contracts.event_types import TOPICS
from resources.event_log.base import EventLog, OffsetRange, TopicPartition
from resources.raw_store.base import PositionRange

RAW_GROUP = "raw"
"""Consumer group of the input workers that write the raw store."""


class NotConsumedError(Exception):
    """The raw group has not read the ranges yet; the message names how far it is."""


def hour_ranges(log: EventLog, hour: datetime, topics: Sequence[str] = TOPICS) -> list[PositionRange]:
    """Offsets appended in `[hour, hour + 1 h)`, one range per topic and partition that has any.

    For the current hour the ranges end at the log's end. Offsets that retention has removed are left out.
    """
    return window_ranges(log, hour, hour + HOUR, topics)


def window_ranges(log: EventLog, start: datetime, end: datetime, topics: Sequence[str] = TOPICS) -> list[PositionRange]:
    """Offsets appended in `[start, end)`."""
    ranges: list[PositionRange] = []
    for topic in topics:
        first = log.offsets_at(topic, _ms(start))
        last = log.offsets_at(topic, _ms(end))
        ranges += [PositionRange(topic, partition, first[partition], last[partition]) for partition in sorted(first)]
    return merge(ranges)


def within_hour(log: EventLog, hour: datetime, ranges: Sequence[PositionRange]) -> list[PositionRange]:
    """The given ranges, once it is certain that the log appended them in this hour.

    Raises ValueError naming the range that lies outside: parts are filed by ingest hour, a wrong hour would hide rows.
    """
    inside = {(r.log_topic, r.log_partition): r for r in hour_ranges(log, hour, sorted({r.log_topic for r in ranges}))}
    for where in ranges:
        limit = inside.get((where.log_topic, where.log_partition))
        if limit is None or where.start < limit.start or where.end > limit.end:
            held = "nothing" if limit is None else f"offsets {limit.start} to {limit.end}"
            raise ValueError(
                f"{where.log_topic}/{where.log_partition} [{where.start}, {where.end}) is not within the ingest hour "
                f"{hour:%Y-%m-%d %H:%M} UTC, which holds {held}"
            )
    return merge(ranges)


def committed(log: EventLog, group: str = RAW_GROUP) -> dict[TopicPartition, int]:
    """The group's next offset per partition; a partition without a commit is absent."""
    return {place: commit.offset for place, commit in log.group_commits(group).items()}


def unread(ranges: Sequence[PositionRange], commits: dict[TopicPartition, int]) -> list[PositionRange]:
    """The parts of the ranges that lie beyond the commits."""
    rest = []
    for where in ranges:
        done = commits.get(TopicPartition(where.log_topic, where.log_partition), 0)
        if where.end > done:
            rest.append(where._replace(start=max(where.start, done)))
    return rest


def wait_until_read(log: EventLog, ranges: Sequence[PositionRange], timeout: float, group: str = RAW_GROUP) -> float:
    """Block until the group has committed past the ranges; return the seconds waited.

    Raises NotConsumedError after `timeout` seconds.
    """
    began = time.monotonic()
    while True:
        rest = unread(ranges, committed(log, group))
        waited = time.monotonic() - began
        if not rest:
            return waited
        if waited >= timeout:
            behind = "; ".join(f"{r.log_topic}/{r.log_partition} from {r.start} to {r.end}" for r in rest[:5])
            raise NotConsumedError(
                f"consumer group {group!r} has not read {sum(r.end - r.start for r in rest):,} messages after "
                f"{waited:.0f} s: {behind}. Is the input worker of this group running? (`tally status`)"
            )
        time.sleep(min(0.1, timeout - waited))


def log_ranges(log: EventLog, topics: Sequence[str] = TOPICS) -> list[PositionRange]:
    """Everything that the log holds, one range per topic and partition."""
    return [
        PositionRange(topic, partition, low, high)
        for topic in topics
        for partition, (low, high) in log.watermarks(topic).items()
    ]


def first_time(log: EventLog, ranges: Iterable[PositionRange]) -> datetime | None:
    """When the oldest message at the start of the ranges was appended (UTC); None when the log has none of them."""
    heads = [OffsetRange(where.log_topic, where.log_partition, where.start, where.start + 1) for where in ranges]
    times = [at for messages in log.read(heads) for at in messages.timestamps]
    return datetime.fromtimestamp(min(times) / 1000, UTC) if times else None


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
