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
from datetime import datetime, timedelta

import polars as pl

from assets.archive_index import archived_ranges
from assets.positions import subtract
from assets.raw_events.ranges import RAW_GROUP, committed, first_time, log_ranges, unread
from contracts.event_types import TOPICS
from resources.clickhouse import Client
from resources.event_log.base import EventLog
from resources.raw_store.base import PositionRange

GROUPS = (RAW_GROUP, "live")
"""Consumer groups of the input workers."""

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
    missing = subtract(log_ranges(log, topics), archived_ranges(clickhouse))
    first: dict[tuple[str, int], PositionRange] = {}
    for where in missing:
        first.setdefault((where.log_topic, where.log_partition), where)
    if not first:
        return Watermark(now)
    return Watermark(min(first_time(log, first.values()) or now, now), tuple(first.values()))


def settled_until(log: EventLog, clickhouse: Client, now: datetime, groups: Sequence[str] = GROUPS) -> datetime:
    """The instant (UTC) before which every message is archived and taken by every consumer group."""
    held = log_ranges(log, TOPICS)
    waiting = [where for group in groups for where in unread(held, committed(log, group))]
    archived = archive_watermark(log, clickhouse, now).at
    return min(archived, first_time(log, waiting) or now)
