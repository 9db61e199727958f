"""The summary against exact counts: nobody heavy is missed, and every bound holds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.heavy_hitters import SpaceSaving


def bounds_hold(summary: SpaceSaving, exact: Counter[str]) -> None:
    assert summary.total == exact.total()
    assert len(list(summary.members())) <= summary.capacity
    for member in [*exact, "never seen"]:
        low, high = summary.bounds(member)
        assert low <= exact[member] <= high
        assert high - low <= summary.total / summary.capacity


@pytest.mark.parametrize("batch", [1, 700, 20_000])
def test_a_zipf_stream_keeps_its_twenty_largest_and_every_bound(batch: int) -> None:
    length = 20_000 if batch == 1 else 400_000
    keys = [f"k{key}" for key in np.random.default_rng(12).zipf(1.2, length) % 1_000_003]
    summary = SpaceSaving(500)
    for start in range(0, length, batch):
        summary.add(Counter(keys[start : start + batch]))
    exact = Counter(keys)
    bounds_hold(summary, exact)
    largest = {key for key, _ in exact.most_common(20)}
    assert {key for key, _ in summary.top(20)} == largest


COUNTS = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(1, 9), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=8), st.integers(1, 5))
def test_bounds_hold_after_any_adding_and_merging(rounds: list[tuple[dict[str, int], dict[str, int]]], k: int) -> None:
    summary, exact = SpaceSaving(k), Counter[str]()
    for added, merged in rounds:
        summary.add(added)
        other = SpaceSaving(k)
        other.add(merged)
        summary.merge(other)
        exact.update(added)
        exact.update(merged)
        bounds_hold(summary, exact)


def test_counts_below_one_and_no_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' is counted 0 times"):
        SpaceSaving(3).add({"a": 0})
    with pytest.raises(ValueError, match="capacity 0"):
        SpaceSaving(0)
