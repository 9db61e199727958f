"""Times: what is read from a source's text, and the three-times rule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import EARLIEST_EVENT_TIME, FUTURE_TOLERANCE
from contracts.mapping import Context, MappedBatch, load_mapping
from contracts.times import LATEST_EVENT_TIME, parse_epoch, parse_formats, parse_iso8601

RECEIVED = datetime(2026, 1, 1, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def apply(*rows: dict[str, Any], **context: Any) -> MappedBatch:
    base = {"event_id": "0198c0de-0000-7000-8000-000000000001", "type": "page.viewed", "actor": "ann"}
    lines = [json.dumps(base | row).encode() for row in rows]
    return load_mapping("tally").apply(lines, Context("demo", RECEIVED, "r", **context))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-2_000_000_000_000, 12_000_000_000_000)
            | st.integers(-600_000, 600_000).map(lambda ms: int(RECEIVED.timestamp() * 1000) + ms),
            st.none() | st.integers(-10_000_000, 10_000_000),
        ),
        min_size=1,
        max_size=20,
    ),
    sent_late_ms=st.none() | st.integers(-20_000, 20_000),
)
def test_the_three_times_rule(rows: list[tuple[int, int | None]], sent_late_ms: int | None) -> None:
    sent_at = None if sent_late_ms is None else RECEIVED - sent_late_ms * MS
    batch = apply(*({"occurred_at": at, "clock_offset_ms": offset} for at, offset in rows), sent_at=sent_at)
    from_batch = sent_late_ms if sent_late_ms is not None and abs(sent_late_ms) > 5000 else 0
    expected = []
    for occurred_ms, offset_ms in rows:
        occurred = datetime(1970, 1, 1, tzinfo=UTC) + occurred_ms * MS
        offset = from_batch if offset_ms is None else offset_ms
        corrected = occurred + offset * MS
        if not (EARLIEST_EVENT_TIME <= occurred < LATEST_EVENT_TIME) or corrected < EARLIEST_EVENT_TIME:
            continue
        if corrected > RECEIVED + FUTURE_TOLERANCE:
            expected.append((occurred, RECEIVED, RECEIVED, "future"))
        else:
            expected.append((occurred, RECEIVED, corrected, "corrected" if offset else "ok"))
    assert batch.valid.select("occurred_at", "received_at", "event_time", "time_flag").rows() == expected
    assert set(batch.rejected["reason"]) <= {"time_out_of_range"}
    assert len(expected) + batch.rejected.height == len(rows)


def test_a_stalled_batch_keeps_the_order_of_its_session() -> None:
    """One offset per session: how long each batch waited on the way does not reorder a device's events."""
    start = RECEIVED - timedelta(hours=1)
    times = []
    for number, delay in enumerate([0, 40, 1, 90, 0]):
        occurred = start + timedelta(seconds=10 * number)
        row = {"occurred_at": occurred.isoformat(), "clock_offset_ms": 7_000}
        times.append(apply(row, sent_at=occurred + timedelta(seconds=delay)).valid["event_time"][0])
    assert times == sorted(times)
    assert times[1] - times[0] == timedelta(seconds=10)


@settings(max_examples=100, deadline=None)
@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - a zone is added below
    zone=st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters))),
    digits=st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
    between=st.sampled_from("T "),
)
def test_iso_8601_of_every_zone_is_read_as_python_does(
    moment: datetime, zone: timezone, digits: str, between: str
) -> None:
    local = moment.replace(tzinfo=zone)
    text = local.isoformat(sep=between, timespec=digits)
    expected = datetime.fromisoformat(text).astimezone(UTC)
    expected -= timedelta(microseconds=expected.microsecond % 1000)
    assert parse_iso8601(pl.Series([text]))[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00+00:00"),
        ("2026-01-02", "2026-01-02T00:00:00+00:00"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123000+00:00"),
        ("2026-01-02T03:04:05,5+0530", "2026-01-01T21:34:05.500000+00:00"),
        ("2026-01-02T03:04:05 -08", "2026-01-02T11:04:05+00:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00+00:00"),
        ("2026-02-29T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-01-02T24:01:00Z", None),
        ("2026-01-02T03:04:05Zulu", None),
        ("２０２６-01-02", None),
        ("", None),
        ("now", None),
        (None, None),
    ],
)
def test_iso_8601(text: str | None, expected: str | None) -> None:
    # Beside a time of another form, so that each text takes the path it takes in a mixed batch.
    parsed = parse_iso8601(pl.Series(["2026-01-01T00:00:00Z", text, "2026-01-01 00:00"], dtype=pl.String))
    assert parsed.null_count() == (expected is None)
    assert (parsed[1] and parsed[1].isoformat()) == expected


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1", "s", "1970-01-01T00:00:01+00:00"),
        ("1506862455855", "ms", "2017-10-01T12:54:15.855000+00:00"),
        ("1506862455855999", "us", "2017-10-01T12:54:15.855000+00:00"),
        ("-1", "ms", "1969-12-31T23:59:59.999000+00:00"),
        ("1.5", "s", "1970-01-01T00:00:01.500000+00:00"),
        ("9223372036854775807", "s", None),
        ("9223372036854775807", "ms", None),
        ("1e400", "ms", None),
        ("inf", "ms", None),
        ("NaN", "s", None),
        ("", "s", None),
        ("12 o'clock", "s", None),
    ],
)
def test_epoch_numbers(text: str, unit: Any, expected: str | None) -> None:
    parsed = parse_epoch(pl.Series(["0", text], dtype=pl.String), unit)[1]
    assert (parsed and parsed.isoformat()) == expected


def test_formats_are_tried_in_order_and_read_as_utc_unless_they_name_a_zone() -> None:
    texts = pl.Series(["2017-11-07 9:30", "7.11.2017 09:30:15", "2017-11-07 9:30 +0200", "soon", None])
    formats = ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M %z"]
    parsed = parse_formats(texts, formats)
    assert [value and value.isoformat() for value in parsed] == [
        "2017-11-07T09:30:00+00:00",
        "2017-11-07T09:30:15+00:00",
        "2017-11-07T07:30:00+00:00",
        None,
        None,
    ]


def test_an_offset_that_no_clock_can_have_is_no_time() -> None:
    texts = ["2026-11-21T13:00:00+99:99", "2026-11-21T13:00:00+24:00", "2026-11-21T13:00:00+05:30"]
    assert parse_iso8601(pl.Series(texts)).to_list() == [None, None, datetime(2026, 11, 21, 7, 30, tzinfo=UTC)]


@pytest.mark.parametrize("read", [parse_iso8601, lambda text, zone: parse_formats(text, ["%FT%T", "%FT%T%:z"], zone)])
def test_a_time_without_an_offset_is_local_in_the_zone(read: Any) -> None:
    texts = ["2026-01-01T05:30:00", "2026-10-25T02:30:00", "2026-03-29T02:30:00", "2026-03-29T02:30:00+00:00", None]
    assert read(pl.Series(texts), "Asia/Kolkata")[0] == datetime(2026, 1, 1, tzinfo=UTC)
    told = [time and time.isoformat() for time in read(pl.Series(texts), "Europe/Berlin")]
    assert told == [
        "2026-01-01T04:30:00+00:00",
        "2026-10-25T00:30:00+00:00",  # occurs twice: the earlier
        None,  # the clock skips it
        "2026-03-29T02:30:00+00:00",
        None,
    ]
