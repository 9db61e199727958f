"""Time of a query: zones, grains, and how fine the rows must be to be cut at its bucket edges.

Belongs here: deciding minute, hour or row resolution, the SQL of a bucket's start, and the starts themselves where they
are regular. Does not belong here: which tables hold that resolution (`serving.plan`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import polars as pl

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
_STEP: dict[Grain, timedelta] = {
    # shorter than the shortest bucket of the grain, so that stepping meets every one
    "minute": timedelta(minutes=1),
    "hour": timedelta(minutes=15),
    "day": timedelta(hours=12),
    "week": timedelta(days=1),
    "month": timedelta(days=1),
    "total": timedelta(days=1),
}
_LONGEST: dict[Grain, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=2),
    "day": timedelta(hours=49),
    "week": timedelta(days=9),
    "month": timedelta(days=33),
    "total": timedelta(0),
}
_EVERY: dict[Grain, str] = {"minute": "1m", "hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def grid_steps(grain: Grain, start: datetime, end: datetime) -> tuple[int, int]:
    """Return (seconds per step, steps) that meet every bucket from the first one to the one after the last."""
    step = _STEP[grain]
    return int(step.total_seconds()), int((end - start + _LONGEST[grain]) / step) + 2


def regular_starts(grain: Grain, tz: ZoneInfo, start: datetime, end: datetime) -> list[int] | None:
    """Return the starts of all buckets from the one `start` is in to one at or after `end`, in s since 1970.

    None where the zone changes its offset in or near the range, or has an odd one: how the store cuts there, it alone
    can say.
    """
    if grain == "total":
        return [int(start.timestamp()), -int(-end.timestamp() // 1)]
    offsets = set(_offsets(tz, start - _LONGEST[grain], end + _LONGEST[grain]))
    offset = offsets.pop()
    if offsets or offset % timedelta(minutes=15):
        return None
    wall = [(moment + offset).replace(tzinfo=None) for moment in (start, end + _LONGEST[grain])]
    first = pl.Series(wall[:1]).dt.truncate(_EVERY[grain]).item()
    if first - offset < _EPOCH.replace(tzinfo=None):
        return None
    walls = pl.datetime_range(first, wall[1], _EVERY[grain], eager=True)
    return (walls.dt.epoch("s") - int(offset.total_seconds())).to_list()


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
