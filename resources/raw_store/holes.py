"""Find the offsets without a verdict in a range of any length, mostly by counting.

Belongs here: the search. Does not belong here: how a store counts or lists.
"""

from __future__ import annotations

from collections.abc import Callable

_COUNT_SPAN = 1 << 20
_LIST_SPAN = 1 << 14


def holes(
    start: int,
    end: int,
    limit: int,
    covered: Callable[[int, int], int],
    present: Callable[[int, int], set[int]],
) -> list[int]:
    """Return the first `limit` offsets of `[start, end)` that `present` does not list, ascending.

    `covered(a, b)` is the number of distinct offsets present in `[a, b)`: a span that is complete by count is not
    listed, an incomplete one is halved until it is short enough to list.
    """
    found: list[int] = []
    for low in range(start, end, _COUNT_SPAN):
        pending = [(low, min(low + _COUNT_SPAN, end))]
        while pending and len(found) < limit:
            first, last = pending.pop()
            count = covered(first, last)
            if count == last - first:
                continue
            if count == 0:
                found.extend(range(first, min(last, first + limit - len(found))))
            elif last - first <= _LIST_SPAN:
                there = present(first, last)
                found.extend(offset for offset in range(first, last) if offset not in there)
            else:
                middle = (first + last) // 2
                pending += [(middle, last), (first, middle)]
        if len(found) >= limit:
            break
    return found[:limit]
