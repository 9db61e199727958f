"""How far the data reaches: the watermark, the newest change, and the extent of all events.

Belongs here: asking the store for these. Does not belong here: the SQL (dbt_project/macros/progress.sql) and what a
query makes of it (`serving.query`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from resources.clickhouse import Client
from resources.clickhouse.sql import render

ALLOWED_LATENESS = timedelta(minutes=2)
"""A bucket is complete when the watermark is this far past its end."""

IDLE_AFTER = timedelta(minutes=5)
"""A log partition that took no event for this long no longer holds the watermark back."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the store holds; None where it holds no event.

    `complete_until`: buckets that end by then are complete, because the watermark is past them by the allowed
    lateness, or because an hour that ends then was sealed after its time. `first`, `last`: extent of event_time.
    `changed_at`: the newest arrival or seal. `version` changes whenever the stored rows or the seals do; `sequence`,
    the number of both, then grows. `seals` changes with the seals alone.
    """

    watermark: datetime | None
    complete_until: datetime | None
    first: datetime | None
    last: datetime | None
    changed_at: datetime | None
    version: str
    sequence: int
    seals: str


def read_progress(client: Client, now: datetime, as_of: datetime | None) -> Progress:
    """Read how far the data reaches at `now`, or how far it reached at `as_of` (which then is the clock as well)."""
    parameters: dict[str, Any] = {
        "now": _micros(as_of or now),
        "idle_ms": int(IDLE_AFTER / timedelta(milliseconds=1)),
        "lateness_s": int(ALLOWED_LATENESS / timedelta(seconds=1)),
    }
    sql = render("progress", as_of=as_of is not None)
    taken, published = sorted(tuple(row) for row in client.query(sql, parameters=parameters).result_rows)
    _, events, watermark, received, first, last = taken
    _, seals, sealed_through, sealed, _, _ = published
    digest = hashlib.sha256(f"{events}/{seals}/{received}/{sealed}".encode()).hexdigest()[:16]
    changed = max((each for each in (_at(received), _at(sealed)) if each is not None), default=None)
    settled = _at(watermark)
    known = (settled - ALLOWED_LATENESS if settled else None, _at(sealed_through))
    complete_until = max((each for each in known if each is not None), default=None)
    return Progress(
        watermark=settled,
        complete_until=complete_until,
        first=_at(first),
        last=_at(last),
        changed_at=changed,
        version=digest,
        sequence=int(events) + int(seals),
        seals=f"{seals}/{sealed}",
    )


def _at(micros: int | None) -> datetime | None:
    """Return the instant; the store says 0, or nothing, where there is none."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros) if micros else None


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
