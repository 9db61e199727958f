"""Seal any range of time for any networks, in a handful of statements, whatever its length.

Belongs here: archive what is read, then slices, hours and days of everything that is due in the range. Does not belong
here: Dagster (`orchestration.sealing` reports what this does), deciding when.

The assets do the same for partitions of the grid. This way also serves hours before the grid and networks without a
square, and it does not pay Dagster's 19 ms per partition: fifteen thousand hours are one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from assets.archive_index import archived_ranges, scope_between
from assets.connector_slices.build import SOURCE_TIMEOUT, build_slices
from assets.dirty import dirty_hours, due
from assets.engagement.build import build_daily, build_hourly
from assets.families import days_to_build, families
from assets.partitions import DAY, HOUR, SCOPE_SCHEMA, hour_start
from assets.positions import intersect, subtract
from assets.publishing.seals import newest_seals
from assets.publishing.sources import stale_days
from assets.publishing.staging import BuildReport
from assets.raw_events.process import HourResult, Stores, archive_hour
from assets.raw_events.ranges import committed, first_time, window_ranges
from assets.sessions.build import build_sessions, follow
from assets.sessions.sources import LENGTH as SESSIONS_LENGTH
from assets.watermark import Watermark, archive_watermark
from contracts.event_types import TOPICS
from resources.clickhouse import Client
from resources.raw_store.base import PositionRange

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SealRequest:
    """What to seal: `[start, end)` by event time, UTC. `networks` None means all.

    `rebuild` builds complete hours again although nothing says that they are dirty; what does not differ is not
    published.
    """

    start: datetime
    end: datetime
    networks: Sequence[str] | None = None
    cause: str = "seal"
    rebuild: bool = False
    source_timeout: float = SOURCE_TIMEOUT


@dataclass(frozen=True, slots=True)
class Sealed:
    """What came of it. `incomplete` are hours with archived events that the watermark has not passed (SCOPE_SCHEMA)."""

    archived: Sequence[HourResult]
    watermark: Watermark
    incomplete: pl.DataFrame
    reports: Sequence[BuildReport] = field(default=())

    @property
    def failed(self) -> dict[tuple[str, object, str], str]:
        """Reason by (dataset, bucket, network)."""
        return {
            (report.build.dataset, bucket, network): reason
            for report in self.reports
            for (bucket, network), reason in report.failed.items()
        }


def seal_range(stores: Stores, request: SealRequest, run_id: str, progress: Progress) -> Sealed:
    """Archive what the raw group has read; seal every hour that is due, the days these complete, and their facts."""
    archived = []
    for hour, ranges in unarchived(stores):
        progress(f"archive: ingest hour {hour:%Y-%m-%d %H:%M}, {sum(r.end - r.start for r in ranges):,} messages")
        archived.append(archive_hour(stores, hour, datetime.now(UTC), ranges))
    now = datetime.now(UTC)
    client = stores.clickhouse
    watermark = archive_watermark(stores.log, client, now)
    held = scope_between(client, request.start, request.end, request.networks)
    complete = watermark.complete(held, HOUR)
    incomplete = held.join(complete, on=["bucket", "network"], how="anti")
    scope = complete if request.rebuild else _due(stores, complete, watermark, now)
    reports = []
    if not scope.is_empty():
        progress(f"slices: {scope.height:,} of {complete.height:,} hours are due")
        slices = build_slices(
            client, stores.archive, scope, cause=request.cause, run_id=run_id, timeout=request.source_timeout
        )
        reports.append(slices)
    hours = complete if request.rebuild else _stale_hours(stores, complete)
    if not hours.is_empty():
        progress(f"hours: {hours.height:,} to roll up")
        reports.append(build_hourly(client, hours, cause=request.cause, run_id=run_id))
    days = _stale_days(stores, complete, watermark, request.rebuild)
    if not days.is_empty():
        progress(f"days: {days.height:,} to merge")
        reports.append(build_daily(client, days, cause=request.cause, run_id=run_id))
    whole = watermark.complete(complete.with_columns(pl.col("bucket").dt.truncate("1d")).unique(), DAY)
    for family in families():
        mine = whole if request.rebuild else days_to_build(client, family, whole)
        if not mine.is_empty():
            progress(f"{family.title}: {mine.height:,} days")
            reports.append(family.build(client, mine, cause=request.cause, run_id=run_id))
    for report in _seal_sessions(client, request, complete, watermark, run_id):
        progress(f"sessions: {report.sealed.height:,} days cut")
        reports.append(report)
    return Sealed(archived, watermark, incomplete, reports=tuple(reports))


def _seal_sessions(
    clickhouse: Client, request: SealRequest, complete: pl.DataFrame, watermark: Watermark, run_id: str
) -> Iterator[BuildReport]:
    """Seal the sessions of the days of these hours, of their neighbours, and of every day that these change.

    A late event may lengthen a session of the day before, and what a day hands on may change the next one.
    """
    touched = complete.with_columns(pl.col("bucket").dt.truncate("1d")).unique(maintain_order=True)
    near = [touched.with_columns((pl.col("bucket") + DAY * step).cast(SCOPE_SCHEMA["bucket"])) for step in (-1, 0, 1)]
    again = watermark.complete(touched, SESSIONS_LENGTH)
    if request.rebuild and not again.is_empty():
        yield build_sessions(clickhouse, again.sort("bucket", "network"), cause=request.cause, run_id=run_id)
    yield from follow(clickhouse, pl.concat(near).unique(), watermark, cause=request.cause, run_id=run_id)


def unarchived(stores: Stores, most_hours: int = 24 * 31) -> Iterator[tuple[datetime, list[PositionRange]]]:
    """Per ingest hour, oldest first, what the raw group has read and no part covers."""
    read = [
        PositionRange(place.topic, place.partition, stores.log.watermarks(place.topic)[place.partition][0], offset)
        for place, offset in committed(stores.log).items()
        if place.topic in TOPICS
    ]
    rest = subtract(read, archived_ranges(stores.clickhouse))
    for _ in range(most_hours):
        first = first_time(stores.log, rest)
        if first is None:
            return
        hour = hour_start(first)
        mine = intersect(rest, window_ranges(stores.log, hour, hour + HOUR))
        yield hour, mine
        rest = subtract(rest, mine)


def _due(stores: Stores, complete: pl.DataFrame, watermark: Watermark, now: datetime) -> pl.DataFrame:
    wanted = due(dirty_hours(stores.clickhouse), watermark, now)
    return wanted.join(complete, on=["bucket", "network"], how="semi").select(list(SCOPE_SCHEMA))


def _stale_hours(stores: Stores, complete: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose published slice is newer than their published hour: just built, or left over by a run that died."""
    slices = newest_seals(stores.clickhouse, "connector_slices", complete)
    hours = newest_seals(stores.clickhouse, "engagement_hourly", complete)
    fresh = slices.join(hours, on=["bucket", "network"], suffix="_hour").filter(
        pl.col("sealed_at_hour") >= pl.col("sealed_at")
    )
    return slices.join(fresh, on=["bucket", "network"], how="anti").select(list(SCOPE_SCHEMA))


def _stale_days(stores: Stores, complete: pl.DataFrame, watermark: Watermark, rebuild: bool) -> pl.DataFrame:
    """Complete days of the given hours whose published day is missing or older than one of its hours."""
    days = complete.with_columns(pl.col("bucket").dt.truncate("1d")).unique(maintain_order=True)
    days = watermark.complete(days, DAY)
    return days if rebuild else stale_days(stores.clickhouse, "engagement_daily", days, "engagement_hourly")
