"""Times, as people type and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestration.cli.errors import CliError
from orchestration.cli.times import (
    ago,
    ceil_to,
    duration,
    floor_to,
    number,
    parse_open_range,
    parse_range,
    parse_time,
    parse_zone,
    size,
)

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-03-29T12:30:00+00:00"),
        ("today", "2026-03-29T00:00:00+00:00"),
        ("yesterday", "2026-03-28T00:00:00+00:00"),
        ("-90m", "2026-03-29T11:00:00+00:00"),
        ("-6h", "2026-03-29T06:30:00+00:00"),
        ("-2d", "2026-03-27T12:30:00+00:00"),
        ("+1w", "2026-04-05T12:30:00+00:00"),
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T14:30", "2026-03-01T14:30:00+00:00"),
        ("2026-03-01 14:30Z", "2026-03-01T14:30:00+00:00"),
        ("2026-03-01T14:30:00+05:30", "2026-03-01T09:00:00+00:00"),
    ],
)
def test_forms_of_time(text: str, expected: str) -> None:
    assert parse_time(text, now=NOW).isoformat() == expected


def test_a_day_is_read_in_the_asked_zone() -> None:
    """Berlin's 29 March 2026 has 23 hours: its midnight is at 23:00 UTC, the next one at 22:00."""
    berlin = ZoneInfo("Europe/Berlin")
    start, end = parse_range("2026-03-29", "2026-03-30", zone=berlin, now=NOW)
    assert (end - start).total_seconds() == 23 * 3600
    assert parse_time("today", now=NOW, zone=berlin).isoformat() == "2026-03-28T23:00:00+00:00"


@pytest.mark.parametrize("text", ["", "tomorrowish", "2026-13-01", "2d ago", "12:30"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(CliError, match=f"'{text}' is not a time"):
        parse_time(text, now=NOW)


def test_an_empty_range_is_refused_with_both_ends() -> None:
    with pytest.raises(CliError, match=r"--from -1h .* is not before --to -2h"):
        parse_range("-1h", "-2h", now=NOW)
    with pytest.raises(CliError, match=r"--from now .* is not before --to -2h"):
        parse_open_range("now", "-2h", now=NOW)


def test_either_side_of_a_range_may_be_open() -> None:
    assert parse_open_range("-1h", None, now=NOW) == (NOW - timedelta(hours=1), None)
    assert parse_open_range(None, "now", now=NOW) == (None, NOW)
    assert parse_open_range(None, None, now=NOW) == (None, None)


def test_a_range_reaches_to_the_steps_around_it() -> None:
    quarter, odd = timedelta(minutes=15), NOW + timedelta(minutes=7, microseconds=1)
    assert (floor_to(odd, quarter), ceil_to(odd, quarter)) == (NOW, NOW + quarter)
    assert (floor_to(NOW, quarter), ceil_to(NOW, quarter)) == (NOW, NOW)


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(CliError, match="'Mars/Olympus' is not a time zone"):
        parse_zone("Mars/Olympus")


def test_how_things_read() -> None:
    assert ago(datetime(2026, 3, 29, 12, 27, tzinfo=UTC), NOW) == "3 min ago"
    assert ago(None) == "never"
    assert [duration(s) for s in (0.42, 12, 600, 7300, 400_000)] == ["0.4 s", "12 s", "10 min", "2 h", "5 d"]
    assert [size(n) for n in (10, 3 * 1024**2, 2.5 * 1024**3)] == ["10 B", "3 MB", "2.50 GB"]
    assert [number(v) for v in (None, 1234567, 0.03125, 3.0, "x")] == ["-", "1,234,567", "0.03125", "3", "x"]
