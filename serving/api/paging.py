"""Cursors: where the next page of a grouped answer starts, and as of when.

Belongs here: the cursor's form and its check. Does not belong here: cutting pages.

All pages of an answer are as of one instant, so none is skipped or repeated while events arrive. A cursor belongs to
one question of one workspace: its digest says so. It is no secret and opens nothing: the key is checked anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from serving.api.problems import ProblemError
from serving.plan import MetricQuery

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MICROS = (datetime(2106, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_NUMBERS = 4


class Place(NamedTuple):
    """Row `offset` of an answer as of an instant (UTC)."""

    as_of: datetime | None
    offset: int


def make_cursor(query: MetricQuery, as_of: datetime, offset: int) -> str:
    """The cursor of a page that starts at row `offset`. The range is part of it: a default one would move on."""
    start, end = query.start or _EPOCH, query.end or _EPOCH
    numbers = [_micros(as_of), offset, _micros(start), _micros(end)]
    text = ".".join(f"{number:x}" for number in numbers)
    return base64.urlsafe_b64encode(f"{text}.{_digest(text, query)}".encode()).decode().rstrip("=")


def cursor_range(cursor: str) -> tuple[datetime, datetime]:
    """The range of the cursor's answer. Raises ProblemError."""
    _, _, start, end = _numbers(cursor)[0]
    return _moment(start), _moment(end)


def read_cursor(cursor: str, query: MetricQuery) -> Place:
    """Return where to go on. Raises ProblemError when the cursor is damaged or of another question."""
    numbers, text, digest = _numbers(cursor)
    asked = [_micros(query.start or _EPOCH), _micros(query.end or _EPOCH)]
    if digest != _digest(text, query) or numbers[2:] != asked:
        raise _bad(cursor)
    return Place(_moment(numbers[0]), numbers[1])


def _numbers(cursor: str) -> tuple[list[int], str, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text, _, digest = base64.urlsafe_b64decode(padded).decode("ascii").rpartition(".")
        numbers = [int(part, 16) for part in text.split(".")]
    except (ValueError, binascii.Error):
        raise _bad(cursor) from None
    if len(numbers) != _NUMBERS or not all(0 <= number < _MOST_MICROS for number in numbers):
        raise _bad(cursor)
    return numbers, text, digest


def _digest(text: str, query: MetricQuery) -> str:
    asked = replace(query, start=None, end=None, as_of=None, limit=None)
    filters = sorted((name, list(values)) for name, values in asked.filters.items())
    about = repr((text, asked.metric, list(asked.by), asked.grain, asked.tz, asked.workspace, filters, asked.order))
    return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _bad(cursor: str) -> ProblemError:
    return ProblemError(
        "bad-cursor",
        "cursor: take it, with the same question, from the answer before",
        parameter="cursor",
        value=cursor,
    )


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
