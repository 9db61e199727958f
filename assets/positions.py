"""Arithmetic of log positions: merge, subtract, intersect and split half-open offset ranges.

Belongs here: pure functions over `PositionRange`. Does not belong here: asking a store anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from resources.raw_store.base import PositionRange

Spans = list[tuple[int, int]]


def merge(ranges: Iterable[PositionRange]) -> list[PositionRange]:
    """Union of the ranges: sorted by topic, partition and start; touching ones joined; empty ones left out."""
    return _to_ranges({place: _merged(spans) for place, spans in _by_partition(ranges).items()})


def subtract(ranges: Iterable[PositionRange], covered: Iterable[PositionRange]) -> list[PositionRange]:
    """What of `ranges` no range of `covered` holds."""
    minus = {place: _merged(spans) for place, spans in _by_partition(covered).items()}
    left: dict[tuple[str, int], Spans] = {}
    for place, spans in _by_partition(ranges).items():
        rest: Spans = []
        for start, end in _merged(spans):
            at = start
            for low, high in minus.get(place, []):
                if high <= at or low >= end:
                    continue
                if low > at:
                    rest.append((at, low))
                at = max(at, high)
            if at < end:
                rest.append((at, end))
        left[place] = rest
    return _to_ranges(left)


def intersect(ranges: Sequence[PositionRange], other: Sequence[PositionRange]) -> list[PositionRange]:
    """What both hold."""
    return subtract(ranges, subtract(ranges, other))


def total(ranges: Iterable[PositionRange]) -> int:
    """Number of offsets in the ranges, which must not overlap."""
    return sum(where.end - where.start for where in ranges)


def split(ranges: Sequence[PositionRange], most: int) -> list[list[PositionRange]]:
    """Pack ranges into groups of at most `most` offsets, cutting a range where a group is full. Order is kept."""
    groups: list[list[PositionRange]] = []
    room = 0
    for where in ranges:
        start = where.start
        while start < where.end:
            if room == 0:
                groups.append([])
                room = most
            end = min(where.end, start + room)
            groups[-1].append(where._replace(start=start, end=end))
            room -= end - start
            start = end
    return groups


def overlaps(ranges: Sequence[PositionRange]) -> bool:
    """Whether any offset is in more than one of the ranges."""
    return total(merge(ranges)) != total(ranges)


def offsets_text(offsets: Sequence[int], most: int = 12) -> str:
    """Ascending offsets for a person: `4, 7-9, 12 … (30 in all)`, at most `most` runs."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    text = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs[:most])
    return text if len(runs) <= most else f"{text} … ({len(offsets)} in all)"


def _by_partition(ranges: Iterable[PositionRange]) -> dict[tuple[str, int], Spans]:
    spans: dict[tuple[str, int], Spans] = defaultdict(list)
    for where in ranges:
        if where.end > where.start:
            spans[where.log_topic, where.log_partition].append((where.start, where.end))
    return spans


def _merged(spans: Spans) -> Spans:
    merged: Spans = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _to_ranges(spans: dict[tuple[str, int], Spans]) -> list[PositionRange]:
    return [PositionRange(topic, part, a, b) for (topic, part), pairs in sorted(spans.items()) for a, b in pairs]
