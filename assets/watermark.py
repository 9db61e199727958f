"""How far the sealed path may go: the archive's watermark, and which buckets it completes.

Belongs here: one instant and comparisons with it. Does not belong here: dirty buckets (`assets.dirty`).

The watermark is the append time of the first message that no archive part accounts for, over all log partitions, or now
when there is none. Everything that Tally received before it is in the archive. The log's append time stands for event
time because intake bounds event time by the time of receipt. An idle partition has nothing unarchived and holds nothing
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from assets.archive_index import archived_ranges
from assets.positions import subtract
from contracts.event_types import TOPICS
from resources.clickhouse import Client
from resources.event_log.base import EventLog, OffsetRange
from resources.raw_store.base import PositionRange

ALLOWED_LATENESS = timedelta(minutes=2)
"""A bucket is complete when the watermark has passed its end by this much."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """The instant (UTC), and what holds it back: the first unarchived range per partition, empty when nothing does."""

    at: datetime
    waiting: tuple[PositionRange, ...] = ()

    def completes(self, end: datetime) -> bool:
        """Whether a bucket that ends then is complete."""
        return end + ALLOWED_LATENESS <= self.at

    def complete(self, scope: pl.DataFrame, length: timedelta) -> pl.DataFrame:
        """The scope's pairs whose bucket, `length` long, is complete."""
        return scope.filter(pl.col("bucket") + length + ALLOWED_LATENESS <= pl.lit(self.at))


def archive_watermark(log: EventLog, clickhouse: Client, now: datetime, topics: Sequence[str] = TOPICS) -> Watermark:
    """Ask the log and the archive's index."""
    marks = {topic: log.watermarks(topic) for topic in topics}
    held = [
        PositionRange(topic, partition, low, high)
        for topic, partitions in marks.items()
        for partition, (low, high) in partitions.items()
    ]
    missing = subtract(held, archived_ranges(clickhouse))
    first: dict[tuple[str, int], PositionRange] = {}
    for where in missing:
        first.setdefault((where.log_topic, where.log_partition), where)
    if not first:
        return Watermark(now)
    heads = [OffsetRange(r.log_topic, r.log_partition, r.start, r.start + 1) for r in first.values()]
    times = [time for messages in log.read(heads) for time in messages.timestamps]
    oldest = datetime.fromtimestamp(min(times) / 1000, UTC) if times else now
    return Watermark(min(oldest, now), tuple(first.values()))
