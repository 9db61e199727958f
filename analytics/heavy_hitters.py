"""Heavy hitters in bounded memory: the Space-Saving summary (Metwally et al., 2005), fed by counts and mergeable.

Belongs here: the summary and its bounds. Does not belong here: what is counted, windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nlargest


class SpaceSaving:
    """At most `capacity` members, each with a count that is never too low and too high by at most its error.

    For every member, seen or not: `estimate - error <= true count <= estimate`, and error <= total / capacity. So a
    member that makes more than total / capacity of everything is always among `members`.

    Fed with whole counts at once (`add`), where the original takes one occurrence after another: members of both are
    added up, a member that is new gets `floor` (what may have been forgotten of it) on top, and the largest stay. With
    single occurrences this is the original.
    """

    __slots__ = ("_counts", "_errors", "capacity", "floor", "total")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity} is not at least 1")
        self.capacity = capacity
        self.total = 0
        self.floor = 0  # no member that is not kept has a larger true count
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Count these occurrences too. Raises ValueError for a count below 1."""
        for member, count in counts.items():
            if count < 1:
                raise ValueError(f"{member!r} is counted {count} times")
        self._join(counts, {}, 0, sum(counts.values()))

    def merge(self, other: SpaceSaving) -> None:
        """Count everything that `other` has counted too. Errors add up, and so do totals."""
        self._join(other._counts, other._errors, other.floor, other.total)

    def members(self) -> Iterable[str]:
        """Whoever may be heavy, in no order."""
        return self._counts.keys()

    def bounds(self, member: str) -> tuple[int, int]:
        """The least and the largest true count that this member can have."""
        if member not in self._counts:
            return 0, self.floor
        return self._counts[member] - self._errors[member], self._counts[member]

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The members with the largest counts, largest first; equal counts by name."""
        return sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]

    def _join(self, counts: Mapping[str, int], errors: Mapping[str, int], floor: int, total: int) -> None:
        joined, wrong = dict(self._counts), dict(self._errors)
        if floor:
            for member in joined.keys() - counts.keys():
                joined[member] += floor
                wrong[member] += floor
        for member, count in counts.items():
            joined[member] = joined.get(member, self.floor) + count
            wrong[member] = wrong.get(member, self.floor) + errors.get(member, 0)
        forgotten = self.floor + floor
        if len(joined) > self.capacity:
            ordered = nlargest(self.capacity + 1, joined.items(), key=lambda pair: (pair[1], pair[0]))
            forgotten = max(ordered[-1][1], forgotten)
            joined = dict(ordered[:-1])
        self._counts = joined
        self._errors = {member: wrong[member] for member in joined}
        self.floor = forgotten
        self.total += total
