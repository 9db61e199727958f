"""Range arithmetic against sets of offsets."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.positions import intersect, merge, offsets_text, overlaps, split, subtract, total
from resources.raw_store.base import PositionRange

RANGES = st.lists(
    st.builds(
        lambda topic, partition, start, length: PositionRange(topic, partition, start, start + length),
        st.sampled_from(["a", "b"]),
        st.integers(0, 1),
        st.integers(0, 30),
        st.integers(0, 8),
    ),
    max_size=8,
)


def offsets(ranges: Sequence[PositionRange]) -> set[tuple[str, int, int]]:
    return {(r.log_topic, r.log_partition, offset) for r in ranges for offset in range(r.start, r.end)}


@given(RANGES, RANGES)
@settings(max_examples=200, deadline=None)
def test_ranges_behave_as_sets_of_offsets(left: list[PositionRange], right: list[PositionRange]) -> None:
    assert offsets(merge(left)) == offsets(left)
    assert offsets(subtract(left, right)) == offsets(left) - offsets(right)
    assert offsets(intersect(left, right)) == offsets(left) & offsets(right)
    assert total(merge(left)) == len(offsets(left))
    assert overlaps(left) == (total(left) != len(offsets(left)))


@given(RANGES, st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_splitting_keeps_every_offset_and_no_group_is_too_big(ranges: list[PositionRange], most: int) -> None:
    merged = merge(ranges)
    groups = split(merged, most)
    assert all(0 < total(group) <= most for group in groups)
    assert all(total(group) == most for group in groups[:-1])
    assert offsets([r for group in groups for r in group]) == offsets(merged)
    assert total([r for group in groups for r in group]) == total(merged)


def test_offsets_for_a_person() -> None:
    assert offsets_text([4, 7, 8, 9, 12]) == "4, 7-9, 12"
    assert offsets_text(list(range(0, 60, 2)), most=2) == "0, 2 … (30 in all)"
