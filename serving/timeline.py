"""Time of a query: zones, grains, and how fine the rows must be to be cut at its bucket edges.

Belongs here: deciding minute, hour or row resolution, the SQL of a bucket's start, and the starts themselves where they
are regular. Does not belong here: which tables hold that resolution (`serving.plan`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from serving.errors import UnknownNameError

Grain = Literal["minute", "hour", "day", "week", "month", "total"]
Resolution = Literal["hour", "minute", "row"]

GRAINS: tuple[Grain, ...] = ("minute", "hour", "day", "week", "month", "total")

_ZONE_SQL = "{tz:String}"
_BUCKET_SQL: dict[Grain, str] = {
    "minute": "toStartOfMinute({at}, {tz})",
    "hour": "toStartOfHour({at}, {tz})",
    "day": "toStartOfDay({at}, {tz})",
    "week": "toDateTime(toMonday({at}, {tz}), {tz})",
    "month": "toDateTime(toStartOfMonth({at}, {tz}), {tz})",
    "total": "toDateTime({{from_s:Int64}}, 'UTC')",
}
_SHORTEST: dict[Grain, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(hours=22),
    "week": timedelta(days=6),
    "month": timedelta(days=27),
    "total": timedelta(days=366 * 200),
}


@cache
def time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(name: str) -> ZoneInfo:
    """Return the zone; raises UnknownNameError with the nearest names."""
    if name not in time_zones():
        raise UnknownNameError("time zone", name, time_zones())
    return ZoneInfo(name)


def to_utc(moment: datetime, tz: ZoneInfo) -> datetime:
    """Return the instant in UTC; a time without a zone is local to `tz` (the earlier one if it occurs twice)."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)).astimezone(UTC)


def bucket_sql(grain: Grain, at: str) -> str:
    """Return SQL for the start of the bucket that the DateTime expression `at` is in. Needs parameter `tz`."""
    return _BUCKET_SQL[grain].format(at=at, tz=_ZONE_SQL)


def most_buckets(grain: Grain, start: datetime, end: datetime) -> int:
    """Return a number of buckets that the range cannot exceed."""
    return int((end - start) / _SHORTEST[grain]) + 2


def bucket_edges(grain: Grain, tz: ZoneInfo, start: datetime, end: datetime) -> list[int]:
    """Return the edges of the buckets that `[start, end)` touches, ascending, in seconds since 1970.

    They are where `bucket_sql` puts them: hours are counted from the local midnight, so that the day on which a clock
    moves by half an hour (Lord Howe) has one short hour at its end. Total has the edges of the range.
    """
    first, last = int(start.timestamp()), -int(-end.timestamp() // 1)
    if grain == "total":
        return [first, last]
    if grain == "minute":
        return list(range(first - first % 60, last + 60, 60))
    edges = _calendar_edges("day" if grain == "hour" else grain, tz, start, end)
    if grain == "hour":
        edges = [hour for day, after in pairwise(edges) for hour in range(day, after, 3600)] + edges[-1:]
    before = sum(edge <= first for edge in edges) - 1
    beyond = sum(edge < last for edge in edges) + 1
    return edges[before:beyond]


def _calendar_edges(grain: Grain, tz: ZoneInfo, start: datetime, end: datetime) -> list[int]:
    """Return local midnights that begin days, weeks or months, from the one at or before `start` to one after `end`."""
    day = start.astimezone(tz).date()
    if grain == "week":
        day -= timedelta(days=day.weekday())
    elif grain == "month":
        day = day.replace(day=1)
    edges: list[int] = []
    while not edges or edges[-1] < end.timestamp():
        # a midnight that the clock skips is the moment of skipping, one that comes twice is the first
        edges.append(int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp()))
        if grain == "month":
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        else:
            day += timedelta(days=1 if grain == "day" else 7)
    return edges


def _offsets(tz: ZoneInfo, start: datetime, end: datetime) -> Iterator[timedelta]:
    """Yield the zone's offsets in `[start, end]`, looked at once a day: every rule of a zone lasts for weeks."""
    at = start
    while at < end:
        yield at.astimezone(tz).utcoffset() or timedelta(0)
        at += timedelta(days=1)
    yield end.astimezone(tz).utcoffset() or timedelta(0)


def resolution(grain: Grain, tz: ZoneInfo, start: datetime, end: datetime) -> Resolution:
    """Return the coarsest resolution that every bucket edge falls on.

    Hourly rows do for whole-hour offsets; offsets with :30 or :45 need minutes, edges inside a minute need the rows.
    """
    if any(edge.second or edge.microsecond for edge in (start, end)):
        return "row"
    if grain == "minute" or start.minute or end.minute:
        return "minute"
    if grain == "total":
        return "hour"
    whole = all(offset % timedelta(hours=1) == timedelta(0) for offset in _offsets(tz, start, end))
    return "hour" if whole else "minute"


def days_are_utc(grain: Grain, tz: ZoneInfo, start: datetime, end: datetime) -> bool:
    """True if buckets are made of whole UTC days, so that daily rows may answer for the days inside the range."""
    if grain == "total":
        return True
    return grain in ("day", "week", "month") and not any(_offsets(tz, start, end))
