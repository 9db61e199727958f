"""Times in columns: reading a source's time text, and the three-times rule.

Belongs here: text or numbers → UTC milliseconds, `occurred_at` and `received_at` → `event_time` and its flag.
Does not belong here: the clock (times of receipt are passed in) and windows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

from contracts.envelope import EARLIEST_EVENT_TIME, FUTURE_TOLERANCE, UTC_MS

TimeUnit = Literal["s", "ms", "us"]

LATEST_EVENT_TIME = datetime(2299, 12, 31, tzinfo=UTC)
"""A time from here on is refused: the stores cannot hold it. Up to here a time ahead is flagged `future`."""

SENT_AT_TOLERANCE = timedelta(seconds=5)
"""When `sent_at` and `received_at` of a batch differ by more than this, the sender's clock is off by the difference."""

MAX_CLOCK_OFFSET_MS = 200 * 366 * 86_400_000
"""A clock further off than this is not corrected but refused (`invalid_value`)."""

_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_MAX_EPOCH_MS = 253_402_300_799_999  # the end of the year 9999, the last that datetime can name
# Numbers, because polars starts its threads for a literal datetime, and threads do not survive a fork of the importer.
_EARLIEST = pl.lit(round(EARLIEST_EVENT_TIME.timestamp() * 1000)).cast(UTC_MS)
_LATEST = pl.lit(round(LATEST_EVENT_TIME.timestamp() * 1000)).cast(UTC_MS)
_ISO_PARTS = (
    r"^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s?"
    r"(Z|z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?$"
)
_USUAL_ISO = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False)
_USUAL_ISO = _USUAL_ISO.dt.replace_time_zone("UTC")


def parse_iso8601(text: pl.Series, zone: str = "UTC") -> pl.Series:
    """Return UTC_MS of ISO 8601 texts; null where the text is no such time.

    A text without an offset is local time in `zone` (IANA), as `parse_formats` reads it.
    """
    parsed = pl.DataFrame({"time": text}).select(_USUAL_ISO).to_series()
    if parsed.null_count() == text.null_count():
        return parsed
    rest = parsed.is_null() & text.is_not_null()
    return parsed.scatter(rest.arg_true(), _parse_iso_parts(text.filter(rest), zone))


def _parse_iso_parts(text: pl.Series, zone_of_local: str) -> pl.Series:
    fields = text.str.strip_chars().str.extract_groups(_ISO_PARTS).struct
    part = [fields.field(str(number)) for number in range(1, 9)]
    clock = [value.fill_null("00") for value in part[3:6]]
    canonical = part[0] + "-" + part[1] + "-" + part[2] + "T" + clock[0] + ":" + clock[1] + ":" + clock[2]
    local = canonical.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ms", strict=False)
    fraction = part[6].fill_null("0").str.pad_end(3, "0").str.slice(0, 3).cast(pl.Int64, strict=False)
    zone = part[7].fill_null("Z").str.to_uppercase().str.replace("Z", "+0000", literal=True).str.replace_all(":", "")
    zone = zone.str.pad_end(5, "0")
    minutes = zone.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + zone.str.slice(3, 2).cast(pl.Int64, strict=False)
    sign = zone.str.starts_with("-").cast(pl.Int64) * -2 + 1
    millis = (local.dt.timestamp("ms") + fraction - sign * minutes * 60_000).cast(pl.Datetime("ms"))
    absolute = millis.dt.replace_time_zone("UTC")
    if zone_of_local == "UTC":
        return absolute
    return absolute.zip_with(part[7].is_not_null(), _local_to_utc(millis, zone_of_local))


def _local_to_utc(local: pl.Series, zone: str) -> pl.Series:
    """Return UTC_MS of local times: of one that occurs twice the earlier, null for one that the clock skips.

    A skipped time is no instant, so any choice would invent one; most often the zone is wrong, and that should show.
    """
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def parse_epoch(text: pl.Series, unit: TimeUnit) -> pl.Series:
    """Return UTC_MS of numbers (or their text) since 1970-01-01T00:00Z; null where there is no such number."""
    whole = text.cast(pl.Int64, strict=False)
    if unit == "us":
        millis = whole // 1000
    else:
        millis = whole * int(_MS_PER_UNIT[unit]) if unit == "ms" else _seconds_to_ms(whole)
    rest = whole.is_null() & text.is_not_null()
    if rest.any():
        exact = text.filter(rest).cast(pl.Float64, strict=False) * _MS_PER_UNIT[unit]
        exact = exact.set(~(exact.abs() <= _MAX_EPOCH_MS), None).floor()
        millis = millis.scatter(rest.arg_true(), exact.cast(pl.Int64, strict=False))
    millis = millis.set(millis.abs() > _MAX_EPOCH_MS, None)
    return millis.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def _seconds_to_ms(seconds: pl.Series) -> pl.Series:
    # A number too large for a time becomes null before it could overflow.
    return seconds.set(seconds.abs() > _MAX_EPOCH_MS // 1000, None) * 1000


def parse_formats(text: pl.Series, formats: list[str], zone: str = "UTC") -> pl.Series:
    """Return UTC_MS of texts in one of these strptime formats, the first that fits; null where none does.

    A text without an offset is local time in `zone` (IANA): one that occurs twice there is the earlier of the two, one
    that the clock skips is null.
    """
    result = pl.Series(text.name, [None] * len(text), dtype=UTC_MS)
    for form in formats:
        rest = result.is_null() & text.is_not_null()
        if not rest.any():
            break
        parsed = text.filter(rest).str.to_datetime(form, time_unit="ms", strict=False)
        zoned = isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone is not None
        parsed = parsed.dt.convert_time_zone("UTC") if zoned else _local_to_utc(parsed, zone)
        result = result.scatter(rest.arg_true(), parsed)
    return result


def batch_offset_ms(sent_at: datetime | None, received_at: datetime) -> int:
    """Return by how much the sender's clock is behind ours, in ms; 0 within SENT_AT_TOLERANCE or without `sent_at`."""
    if sent_at is None or abs(received_at - sent_at) <= SENT_AT_TOLERANCE:
        return 0
    return (received_at - sent_at) // timedelta(milliseconds=1)


def three_times(occurred_at: pl.Expr, received_at: pl.Expr, offset_ms: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return expressions for `event_time` and `time_flag`.

    `event_time = occurred_at + offset_ms`. If that is more than FUTURE_TOLERANCE ahead of `received_at`, it is
    `received_at`, flag `future`; else the flag is `corrected` where an offset was applied, `ok` where not.
    """
    corrected = occurred_at.dt.timestamp("ms") + offset_ms
    limit = received_at.dt.timestamp("ms") + FUTURE_TOLERANCE // timedelta(milliseconds=1)
    ahead = corrected > limit
    event_time = (
        pl.when(ahead).then(received_at).otherwise(corrected.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"))
    )
    flag = pl.when(ahead).then(pl.lit("future")).when(offset_ms != 0).then(pl.lit("corrected")).otherwise(pl.lit("ok"))
    return event_time.cast(UTC_MS), flag


def in_range(time: pl.Expr) -> pl.Expr:
    """Return whether a time can be that of an event: EARLIEST_EVENT_TIME <= time < LATEST_EVENT_TIME."""
    return (time >= _EARLIEST) & (time < _LATEST)
