"""Windows equal a brute-force oracle on 500 random streams, at exact edges too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.windows import arrivals, session_windows, sliding, tumbling

START = datetime(2026, 3, 29, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SIZES = [timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Mostly on or beside an edge: whole minutes, and one millisecond before and after them.
_instants = st.one_of(
    st.integers(0, 180).map(lambda minutes: START + timedelta(minutes=minutes)),
    st.integers(0, 180).map(lambda minutes: START + timedelta(minutes=minutes) - MS),
    st.integers(0, 3 * 3600 * 1000).map(lambda ms: START + ms * MS),
)
_streams = st.lists(st.tuples(st.sampled_from("abc"), _instants), min_size=1, max_size=40)


def _frame(stream: list[tuple[str, datetime]]) -> pl.DataFrame:
    return pl.DataFrame(stream, schema={"who": pl.String(), "event_time": pl.Datetime("ms", "UTC")}, orient="row")


def _counts(frame: pl.DataFrame) -> dict[tuple[datetime, datetime], int]:
    grouped = frame.group_by("window_start", "window_end").len()
    return {(start, end): count for start, end, count in grouped.iter_rows()}


@settings(max_examples=500, deadline=None)
@given(stream=_streams, size=st.sampled_from(SIZES[1:]), steps=st.integers(1, 5))
def test_tumbling_and_sliding_equal_brute_force(
    stream: list[tuple[str, datetime]], size: timedelta, steps: int
) -> None:
    """Every window that exists is looked at, and every event is asked whether it lies in it."""
    frame = _frame(stream)
    times = [at for _, at in stream]
    for length, found in ((size, tumbling(frame, size)), (size * steps, sliding(frame, size * steps, size))):
        first = _EPOCH + ((min(times) - _EPOCH) // size) * size - length
        expected = {}
        while first <= max(times):
            inside = sum(first <= at < first + length for at in times)
            if inside:
                expected[first, first + length] = inside
            first += size
        assert _counts(found) == expected


@settings(max_examples=500, deadline=None)
@given(stream=_streams, gap=st.sampled_from([timedelta(minutes=1), timedelta(minutes=30), timedelta(seconds=7)]))
def test_session_windows_equal_merging_intervals(stream: list[tuple[str, datetime]], gap: timedelta) -> None:
    """The oracle makes an interval of each event and merges those that overlap, in whatever order they come."""
    windows: dict[str, list[list[datetime]]] = {}
    for who, at in stream:
        mine = [at, at + gap]
        rest = []
        for start, end in windows.get(who, []):
            if mine[0] < end and start < mine[1]:
                mine = [min(mine[0], start), max(mine[1], end)]
            else:
                rest.append([start, end])
        windows[who] = [*rest, mine]
    expected = {
        (who, start, end): sum(w == who and start <= at < end for w, at in stream)
        for who, mine in windows.items()
        for start, end in mine
    }
    given_windows = session_windows(_frame(stream), gap, ["who"])
    found = given_windows.group_by("who", "window_start", "window_end").len()
    assert {(w, s, e): n for w, s, e, n in found.iter_rows()} == expected
    assert given_windows["event_time"].to_list() == [at for _, at in stream]


@settings(max_examples=500, deadline=None)
@given(stream=_streams, size=st.sampled_from(SIZES), lateness=st.integers(0, 20), horizon=st.integers(0, 90))
def test_arrivals_equal_a_loop(
    stream: list[tuple[str, datetime]], size: timedelta, lateness: int, horizon: int
) -> None:
    allowed, furthest = timedelta(minutes=lateness), timedelta(minutes=lateness + horizon)
    watermark: datetime | None = None
    expected = []
    for _, at in stream:
        end = _EPOCH + ((at - _EPOCH) // size + 1) * size
        verdict = "on_time"
        if watermark is not None and watermark >= end + allowed:
            verdict = "beyond_horizon" if watermark >= end + furthest else "late"
        expected.append((watermark, verdict))
        watermark = at if watermark is None else max(watermark, at)
    found = arrivals(_frame(stream), size, lateness=allowed, horizon=furthest)
    assert found.select("watermark", "arrival").rows() == expected


def test_edges_belong_to_the_window_they_begin() -> None:
    found = tumbling(_frame([("a", START - MS), ("a", START), ("a", START + timedelta(hours=1))]), timedelta(hours=1))
    assert found["window_start"].to_list() == [START - timedelta(hours=1), START, START + timedelta(hours=1)]


@pytest.mark.parametrize(("gap_ms", "windows"), [(1_799_999, 1), (1_800_000, 2), (1_800_001, 2)])
def test_a_gap_of_exactly_thirty_minutes_splits(gap_ms: int, windows: int) -> None:
    found = session_windows(_frame([("a", START), ("a", START + gap_ms * MS)]), timedelta(minutes=30), ["who"])
    assert found["window_start"].n_unique() == windows


def test_a_size_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot slide"):
        sliding(_frame([("a", START)]), timedelta(minutes=5), timedelta(minutes=2))
