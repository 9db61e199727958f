"""Sets of log positions, as ranges: joining, covering, cutting, and the name they give a part.

Belongs here: pure functions over `PositionRange`. Does not belong here: objects or manifests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_

import polars as pl

from resources.archive.base import ArchiveError
from resources.raw_store.base import PositionRange

_LONGEST_NAME = 150
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")


def joined(ranges: Iterable[PositionRange]) -> tuple[PositionRange, ...]:
    """Return the same positions as the fewest ranges, ordered; empty ranges vanish."""
    result: list[PositionRange] = []
    for piece in sorted(r for r in ranges if r.start < r.end):
        last = result[-1] if result else None
        if last and last[:2] == piece[:2] and piece.start <= last.end:
            result[-1] = last._replace(end=max(last.end, piece.end))
        else:
            result.append(piece)
    return tuple(result)


def common(left: Sequence[PositionRange], right: Sequence[PositionRange]) -> tuple[PositionRange, ...]:
    """Positions that are in both."""
    return joined(
        PositionRange(a.log_topic, a.log_partition, max(a.start, b.start), min(a.end, b.end))
        for a in left
        for b in right
        if a[:2] == b[:2]
    )


def without(left: Sequence[PositionRange], right: Sequence[PositionRange]) -> tuple[PositionRange, ...]:
    """Positions of `left` that are not in `right`."""
    rest = list(left)
    for cut in right:
        rest = [
            piece
            for r in rest
            for piece in (
                (r,)
                if r[:2] != cut[:2]
                else (r._replace(end=min(r.end, cut.start)), r._replace(start=max(r.start, cut.end)))
            )
            if piece.start < piece.end
        ]
    return joined(rest)


def size(ranges: Iterable[PositionRange]) -> int:
    """Number of positions of joined ranges."""
    return sum(r.end - r.start for r in ranges)


def covers(outer: Sequence[PositionRange], inner: Sequence[PositionRange]) -> bool:
    """Whether every position of `inner` is in `outer` (both joined)."""
    return size(common(outer, inner)) == size(inner)


def within(ranges: Sequence[PositionRange]) -> pl.Expr:
    """The condition that a row's position is in the ranges."""
    return reduce(
        or_,
        (
            (pl.col("log_topic") == r.log_topic)
            & (pl.col("log_partition") == r.log_partition)
            & (pl.col("log_offset") >= r.start)
            & (pl.col("log_offset") < r.end)
            for r in ranges
        ),
        pl.lit(value=False),
    )


def text(ranges: Sequence[PositionRange]) -> str:
    """For messages: `user-events/0 [10, 20), user-events/1 [5, 9)`."""
    return ", ".join(f"{r.log_topic}/{r.log_partition} [{r.start}, {r.end})" for r in ranges)


def name(ranges: Sequence[PositionRange]) -> str:
    """The part's name, unique per set of ranges: `user-events-p0-10-20_p1-5-9`.

    A long list is cut short and ended by a hash of the whole, because file systems allow 255 bytes.
    """
    pieces: list[str] = []
    topic = ""
    for r in ranges:
        if not _TOPIC.fullmatch(r.log_topic):
            raise ArchiveError(f"topic {r.log_topic!r} cannot be part of an object's name")
        start = "" if not pieces else "_" if r.log_topic == topic else "+"
        topic_text = "" if r.log_topic == topic else f"{r.log_topic}-"
        pieces.append(f"{start}{topic_text}p{r.log_partition}-{r.start}-{r.end}")
        topic = r.log_topic
    whole = "".join(pieces)
    if len(whole) <= _LONGEST_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
    return f"{pieces[0][:100]}+{len(pieces) - 1}-more-{digest}"
