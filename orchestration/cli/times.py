"""Times as people write and read them.

Belongs here: parsing `--from` and `--to`, and printing ages, durations, sizes and counts. Does not belong here: the
clock of a computation (each takes its times as arguments).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestration.cli.errors import CliError

_RELATIVE = re.compile(r"^([+-]?\d+)\s*(s|m|min|h|d|w)$")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
FORMS = "2026-03-01, 2026-03-01T14:30, 2026-03-01T14:30+02:00, now, today, yesterday, -90m, -6h, -2d, -1w"


def parse_time(text: str, *, now: datetime, zone: tzinfo = UTC) -> datetime:
    """Return the instant in UTC. A time without an offset is read in `zone`; `today` starts at its midnight.

    Raises CliError naming the text.
    """
    word = text.strip().lower()
    local = now.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "now":
        return now.astimezone(UTC)
    if word == "today":
        return midnight.astimezone(UTC)
    if word == "yesterday":
        return (midnight - timedelta(days=1)).astimezone(UTC)
    if relative := _RELATIVE.match(word):
        return now.astimezone(UTC) + timedelta(seconds=int(relative[1]) * _UNITS[relative[2]])
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CliError(f"{text!r} is not a time", hint=f"forms: {FORMS}") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)).astimezone(UTC)


def parse_duration(text: str) -> timedelta:
    """Return a length of time: `30s`, `30m`, `12h`, `7d`, `2w`. Raises CliError naming the text."""
    found = _RELATIVE.match(text.strip().lower())
    if found is None or int(found[1]) <= 0:
        raise CliError(f"{text!r} is not a length of time", hint="forms: 30s, 30m, 12h, 7d, 2w")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def parse_zone(name: str) -> tzinfo:
    """Return an IANA time zone. Raises CliError naming it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CliError(f"{name!r} is not a time zone", hint="for example UTC, Europe/Berlin, Asia/Kolkata") from None


def parse_range(start: str, end: str, *, zone: tzinfo = UTC, now: datetime | None = None) -> tuple[datetime, datetime]:
    """Return `[start, end)` in UTC. Raises CliError when it is empty."""
    moment = now or datetime.now(UTC)
    first, last = parse_time(start, now=moment, zone=zone), parse_time(end, now=moment, zone=zone)
    if first >= last:
        raise CliError(f"--from {start} ({iso(first)}) is not before --to {end} ({iso(last)})")
    return first, last


def parse_open_range(
    start: str | None, end: str | None, *, zone: tzinfo = UTC, now: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return a range either side of which may be left open, in UTC. Raises CliError when it is empty."""
    moment = now or datetime.now(UTC)
    if start and end:
        return parse_range(start, end, zone=zone, now=moment)
    first = parse_time(start, now=moment, zone=zone) if start else None
    return first, parse_time(end, now=moment, zone=zone) if end else None


def floor_to(at: datetime, step: timedelta) -> datetime:
    """The last multiple of `step` since 1970 at or before an instant with a zone."""
    return at - timedelta(seconds=at.timestamp() % step.total_seconds())


def ceil_to(at: datetime, step: timedelta) -> datetime:
    """The first multiple of `step` since 1970 at or after an instant with a zone."""
    floor = floor_to(at, step)
    return at if floor == at else floor + step


def to_quarters(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The quarters of an hour that a range touches: facts are kept by these, and an answer says which."""
    from contracts.facts import BUCKET

    return floor_to(start, BUCKET), ceil_to(end, BUCKET)


def utc(moment: datetime) -> datetime:
    """Return the instant in UTC; a time without a zone, as drivers give it for UTC columns, is UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def iso(moment: datetime | None) -> str:
    """Seconds precision, `Z` for UTC."""
    if moment is None:
        return "-"
    return utc(moment).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """`3 min ago`, `in 2 h`; `never` for None."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - utc(moment)).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def duration(seconds: float) -> str:
    """One unit that reads well: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def size(count: float) -> str:
    """Bytes with a binary unit: `312 MB` (MiB)."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.2f} GB"


def number(value: object) -> str:
    """`12,345`, `0.0312`, `-` for null."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return f"{int(value):,}"


def counted(count: int, thing: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
