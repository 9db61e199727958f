"""The first filtering pass: each reason, and independence of how the rows are divided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.connector_slices.filtering import LATE_HORIZON, REASONS, admit, judge
from contracts.envelope import STORED_SCHEMA

HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)
SEALED = HOUR + timedelta(hours=1, minutes=3)
FIRST_SEALED = pl.DataFrame(
    {"bucket": [HOUR], "network": ["app"], "first_sealed_at": [SEALED]},
    schema={"bucket": pl.Datetime("ms", "UTC"), "network": pl.String(), "first_sealed_at": pl.Datetime("us", "UTC")},
)

GOOD: dict[str, Any] = {
    name: {"String": "x", "List": []}.get(type(dtype).__name__, 0) for name, dtype in STORED_SCHEMA.items()
} | {
    "type": "post.created",
    "network": "app",
    "occurred_at": HOUR,
    "received_at": HOUR,
    "event_time": HOUR,
}
CASES: dict[str, dict[str, Any]] = {
    "": {},
    "no_workspace": {"workspace": ""},
    "no_network": {"network": ""},
    "unknown_type": {"type": "post.imagined"},
    "no_time": {"event_time": None},
    "too_early": {"event_time": datetime(1970, 1, 1, tzinfo=UTC)},
    "in_future": {"event_time": HOUR + timedelta(minutes=5, milliseconds=1)},
    "beyond_horizon": {"received_at": SEALED + LATE_HORIZON},
}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([GOOD | row for row in rows], schema=STORED_SCHEMA)


def test_every_reason_and_the_row_that_has_none() -> None:
    judged = judge(frame(list(CASES.values())), FIRST_SEALED)
    assert judged["left_out"].to_list() == list(CASES)
    assert set(CASES) == {"", *REASONS}


def test_the_edges_belong_to_the_good_rows() -> None:
    edges = [
        {"event_time": HOUR + timedelta(minutes=5)},
        {"received_at": SEALED + LATE_HORIZON - timedelta(milliseconds=1)},
        {"event_time": datetime(1995, 1, 1, tzinfo=UTC)},
        {"network": "other", "received_at": SEALED + 2 * LATE_HORIZON},
    ]
    assert admit(frame(edges), FIRST_SEALED).height == len(edges)


@given(st.lists(st.tuples(st.sampled_from(sorted(CASES)), st.integers(0, 3)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_filtering_all_is_the_union_of_filtering_parts(rows: list[tuple[str, int]]) -> None:
    everything = frame([CASES[case] | {"log_offset": number} for number, (case, _) in enumerate(rows)])
    untouched = everything.clone()
    parts = [
        admit(everything.filter(pl.Series([mine == part for _, mine in rows], dtype=pl.Boolean)), FIRST_SEALED)
        for part in range(4)
    ]
    together = pl.concat(parts).sort("log_offset")
    assert together.equals(admit(everything, FIRST_SEALED).sort("log_offset"))
    assert everything.equals(untouched)
