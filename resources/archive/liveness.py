"""Which parts count, and which positions of overlapping parts come from which.

Belongs here: pure functions over lists of parts. Does not belong here: objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from resources.archive.base import ArchivePart
from resources.archive.ranges import common, covers, joined, without
from resources.raw_store.base import PositionRange


def coverers(parts: Sequence[ArchivePart]) -> dict[str, list[ArchivePart]]:
    """For each part (by path) that another of its hour covers: the others that do.

    Equal ranges are one part (one manifest), so covering is an order, and something live always remains.
    """
    hours: dict[datetime, list[ArchivePart]] = defaultdict(list)
    for part in parts:
        hours[part.ingest_hour].append(part)
    return {path: found for group in hours.values() for path, found in _coverers(group)}


def _coverers(group: Sequence[ArchivePart]) -> list[tuple[str, list[ArchivePart]]]:
    # Only a part whose range reaches over the first range of another can cover it. Sorted by start, those are among the
    # parts still open there: a handful, where comparing all pairs of a busy hour would be millions.
    pieces = sorted(
        ((piece, part) for part in group for piece in part.ranges),
        key=lambda pair: (*pair[0][:2], pair[0].start, -pair[0].end),
    )
    found = []
    open_here: list[tuple[PositionRange, ArchivePart]] = []
    for place, (piece, part) in enumerate(pieces):
        open_here = [pair for pair in open_here if pair[0][:2] == piece[:2] and pair[0].end > piece.start]
        if piece == part.ranges[0]:
            same_start = []  # an equal range sorts in any order, so look ahead too
            for later in pieces[place + 1 :]:
                if later[0] != piece:
                    break
                same_start.append(later)
            over = [
                other
                for _, other in (*open_here, *same_start)
                if other.ranges != part.ranges and covers(other.ranges, part.ranges)
            ]
            if over:
                found.append((part.path, over))
        open_here.append((piece, part))
    return found


def live(parts: Sequence[ArchivePart]) -> list[ArchivePart]:
    """The parts that no other covers, in the order given."""
    replaced = coverers(parts)
    return [part for part in parts if part.path not in replaced]


def taken_before(parts: Sequence[ArchivePart]) -> list[tuple[PositionRange, ...]]:
    """For each part the positions that an earlier one of the list holds already: usually none."""
    pieces = sorted(piece for part in parts for piece in part.ranges)
    if all(a[:2] != b[:2] or a.end <= b.start for a, b in pairwise(pieces)):
        return [()] * len(parts)
    taken: list[tuple[PositionRange, ...]] = []
    so_far: tuple[PositionRange, ...] = ()
    for part in parts:
        taken.append(common(so_far, part.ranges))
        so_far = joined((*so_far, *part.ranges))
    return taken


def runs(parts: Sequence[ArchivePart]) -> list[tuple[tuple[PositionRange, ...], list[ArchivePart]]]:
    """How to read parts in order of position: the rows inside `ranges` of each run's parts, one part after the other.

    Usually one run per partition; a part whose ranges interleave with another's, or overlap it, is in several.
    """
    pieces = sorted(
        (piece, number, bool(skip))
        for number, (part, skip) in enumerate(zip(parts, taken_before(parts), strict=True))
        for piece in without(part.ranges, skip)
    )
    found: list[tuple[list[PositionRange], list[int], bool]] = []
    for piece, number, overlaps in pieces:
        last = found[-1] if found else None
        if last and last[0][0][:2] == piece[:2] and number not in last[1] and not overlaps and not last[2]:
            last[0].append(piece)
            last[1].append(number)
        else:
            found.append(([piece], [number], overlaps))
    return [(joined(ranges), [parts[number] for number in numbers]) for ranges, numbers, _ in found]
