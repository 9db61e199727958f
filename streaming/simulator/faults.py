"""What goes wrong between a device and us: rows that are late, sent twice, or broken.

Belongs here: turning clean events into the bytes that arrive. Does not belong here: judging them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

BROKEN = {
    "not_json": b'{"event_id":"0190',
    "no_actor": b'{"event_id":"%s","type":"post.created","network":"sim","occurred_at":"%s","schema_version":2}',
    "unknown_type": b'{"event_id":"%s","type":"telepathy.sent","network":"sim","actor":"u1","occurred_at":"%s"}',
    "bad_time": b'{"event_id":"%s","type":"post.created","network":"sim","actor":"u1","occurred_at":"yesterday"}',
    "from_1970": b'{"event_id":"%s","type":"post.created","network":"sim","actor":"u1","occurred_at":"1970-01-01"}',
}
"""Kinds of broken rows; every one must end in quarantine with a reason of its own."""


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Shares of the clean rows, 0…1. Late rows occurred up to `late_hours` before they arrive."""

    late: float = 0.01
    duplicate: float = 0.005
    broken: float = 0.002
    late_hours: float = 3.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """`rows` as they arrive; `clean` is what must be stored of them (CLEAN_SCHEMA); the rest must be told apart.

    `origins[i]` says what row i is: the number of its event in `clean`, or the kind of a broken row.
    """

    rows: list[bytes]
    clean: pl.DataFrame
    origins: list[int | str]

    @property
    def duplicates(self) -> int:
        return sum(isinstance(origin, int) for origin in self.origins) - self.clean.height

    @property
    def broken(self) -> dict[str, int]:
        """Rows by kind."""
        return dict(sorted(Counter(origin for origin in self.origins if isinstance(origin, str)).items()))

    def first(self, count: int) -> Delivery:
        """The delivery as it is when it ends after `count` rows."""
        origins = self.origins[:count]
        events = dict.fromkeys(origin for origin in origins if isinstance(origin, int))
        places = {event: place for place, event in enumerate(sorted(events))}
        moved = [places[origin] if isinstance(origin, int) else origin for origin in origins]
        return Delivery(self.rows[:count], self.clean[sorted(events)], moved)


def deliver(events: pl.DataFrame, rates: FaultRates, seed: int, window: int) -> Delivery:
    """Damage one window's events. Deterministic by (seed, window)."""
    rng = np.random.default_rng([seed, 4, window])
    size = events.height
    if not size:
        return Delivery([], events, [])
    late = rng.random(size) < rates.late
    shift = np.where(late, rng.uniform(60_000, rates.late_hours * 3_600_000, size), 0).astype(np.int64)
    clean = events.with_columns(occurred_at=pl.col("occurred_at") - pl.Series(shift).cast(pl.Duration("ms")))
    rows = encode_rows(clean)
    repeated = [int(i) for i in np.flatnonzero(rng.random(size) < rates.duplicate)]
    kinds = [str(kind) for kind in rng.choice(list(BROKEN), int(rng.binomial(size, rates.broken)))]
    sample = rng.integers(0, size, len(kinds))
    ids, times = clean["event_id"], clean["occurred_at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    broken = []
    for kind, i in zip(kinds, sample, strict=True):
        # A broken row must not carry the id of a good one, or the good one would be the duplicate.
        fill = (str(ids[int(i)])[:-12].encode() + b"dead" * 3, str(times[int(i)]).encode())
        template = BROKEN[kind]
        broken.append(template % fill[: template.count(b"%s")])
    arrived = rows + [rows[i] for i in repeated] + broken
    origins: list[int | str] = [*range(size), *repeated, *kinds]
    order = np.argsort(np.concatenate([np.arange(size), size * rng.random(len(arrived) - size)]), kind="stable")
    # A second copy or a broken row may arrive anywhere; which copy comes first does not matter, they are equal.
    return Delivery([arrived[i] for i in order], clean, [origins[i] for i in order])


def encode_rows(events: pl.DataFrame) -> list[bytes]:
    """Events as our SDK sends them: one JSON object per event."""
    topics = pl.format("[{}]", pl.col("topics").list.eval(pl.format('"{}"', pl.element())).list.join(","))
    line = pl.format(
        '{{"event_id":"{}","type":"{}","network":"sim","actor":"{}","object":"{}","campaign":"{}","topics":{},'
        '"properties":{},"occurred_at":"{}","sdk":"simulator/1","schema_version":2}}',
        "event_id", "type", "actor", "object", "campaign", topics, "properties",
        pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
    )  # fmt: skip
    return [text.encode() for text in events.select(line.alias("row"))["row"].to_list()]
