"""Streams of a few busy people over some days, and what sessions look at in them, read by hand."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl

from contracts.envelope import EVENT_SCHEMA

FIRST_DAY = datetime(2026, 3, 4, tzinfo=UTC)
TYPES = (
    "page.viewed",
    "content.viewed",
    "content.clicked",
    "reaction.added",
    "user.signed_in",
    "ad.clicked",
    "ad.converted",
)


def people(seed: int, days: int = 3, count: int = 400, received_at: datetime | None = None) -> pl.DataFrame:
    """Events (EVENT_SCHEMA) of five people, one without a name, in bouts; some run over midnight, one never pauses."""
    chance = random.Random(seed)
    minutes = days * 1440
    rows = []
    for _ in range(count):
        who = chance.choice(("ann", "bob", "cyd", "dan", ""))
        bout = FIRST_DAY + timedelta(minutes=chance.choice((*range(0, minutes, 97), *range(1430, minutes, 1440))))
        rows += [
            row(chance, who, bout + timedelta(seconds=chance.randrange(3000))) for _ in range(chance.randrange(1, 4))
        ]
    rows += [row(chance, "bot", FIRST_DAY + timedelta(minutes=25 * n)) for n in range(minutes // 25)]
    last = FIRST_DAY + timedelta(days=days) - timedelta(milliseconds=1)
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA).filter(pl.col("event_time") <= last)
    return (
        frame
        if received_at is None
        else frame.with_columns(pl.lit(received_at).cast(pl.Datetime("ms", "UTC")).alias("received_at"))
    )


def row(chance: random.Random, who: str, at: datetime, **values: Any) -> dict[str, Any]:
    kind = values.get("type") or chance.choice(TYPES)
    properties: dict[str, Any] = {"device": chance.choice(("ios", "web"))} if chance.random() < 0.7 else {}
    if not who and chance.random() < 0.6:
        properties["device_id"] = chance.choice(("d1", "d2"))
    if kind == "ad.converted":
        properties |= {"amount_minor": chance.choice((0, 250, 990, -5)), "currency": chance.choice(("usd", "EUR"))}
    if chance.random() < 0.1:
        properties["key_event"] = True
    if chance.random() < 0.3:
        properties["page"] = chance.choice(("/home", "/price"))
    return {
        "workspace": chance.choice(("acme", "globex")),
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "type": kind,
        "network": chance.choice(("app", "sim")),
        "actor": who,
        "object": chance.choice(("", "", "o1", "o2", "o3")),
        "campaign": chance.choice(("", "", "spring")),
        "topics": [],
        "properties": orjson.dumps(properties).decode(),
        "occurred_at": at,
        "received_at": at,
        "event_time": at,
        "time_flag": "ok",
        "sdk": "test",
        "schema_version": 2,
        "receipt_id": "r1",
        "raw": "{}",
        **values,
    }


def looked_at(events: pl.DataFrame) -> list[dict[str, Any]]:
    """What sessions look at in events, read from the envelope by hand: a second way to the same."""
    found = []
    for event in events.unique(["workspace", "event_id"]).to_dicts():
        said = orjson.loads(event["properties"])
        key = event["type"] == "ad.converted" or said.get("key_event") is True
        amount = said.get("amount_minor") if key else None
        worth = amount is not None and amount >= 0
        found.append(
            {
                **{
                    name: event[name]
                    for name in ("workspace", "network", "actor", "event_time", "event_id", "campaign")
                },
                "device_id": "" if event["actor"] else said.get("device_id", ""),
                "view": event["type"] in {"page.viewed", "content.viewed"},
                "key_event": key,
                "item": event["object"] or said.get("page", ""),
                "device": said.get("device", ""),
                "goal_minor": amount if worth else None,
                "goal_currency": said["currency"].upper() if worth else "",
            }
        )
    return found


def batches(seed: int, events: pl.DataFrame) -> list[pl.DataFrame]:
    """The events in batches: mostly in order of time, some late, in no order within a batch."""
    chance = random.Random(seed)
    late = pl.Series([chance.random() < 0.1 for _ in range(events.height)])
    order = events.with_columns(late.alias("late")).sort("late", "event_time").drop("late")
    cuts = sorted(chance.sample(range(1, order.height), 7))
    edges = zip([0, *cuts], [*cuts, order.height], strict=True)
    return [order.slice(a, b - a).sample(fraction=1.0, shuffle=True, seed=seed) for a, b in edges]
