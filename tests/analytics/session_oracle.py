"""Sessions by a plain loop over sorted rows: the oracle of every session test. No frame, no vector, no shortcut."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

NAMESPACE = uuid.UUID("6f0d8a52-52b1-5f0c-9b5e-7c1f7a1f60d4")


def sessions_of(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sessions of events given as dictionaries of what sessions look at, as dictionaries, by identity and start."""
    found: list[list[Mapping[str, Any]]] = []
    people: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for event in events:
        who = (event["workspace"], event["network"], event["actor"], event["device_id"])
        if event["actor"] or event["device_id"]:
            people.setdefault(who, []).append(event)
    for who in sorted(people):
        session: list[Mapping[str, Any]] = []
        for event in sorted(people[who], key=lambda e: (e["event_time"], e["event_id"])):
            at = event["event_time"]
            if session and (
                at - session[-1]["event_time"] >= timedelta(minutes=30)
                or at - session[0]["event_time"] > timedelta(hours=24)
            ):
                found.append(session)
                session = []
            session.append(event)
        found.append(session)
    return [_told(session) for session in found]


def _told(session: list[Mapping[str, Any]]) -> dict[str, Any]:
    first, last = session[0], session[-1]
    start: datetime = first["event_time"]
    views = [e for e in session if e["view"]]
    items = [e["item"] for e in (views or session) if e["item"]]
    path = [item for n, item in enumerate(items) if n == 0 or items[n - 1] != item]
    goals = [(e["goal_minor"], e["goal_currency"]) for e in session if e["goal_minor"] is not None]
    currency = goals[0][1] if goals else ""
    keys = sum(e["key_event"] for e in session)
    who = [first[name] for name in ("workspace", "network", "actor", "device_id")]
    return {
        **dict(zip(("workspace", "network", "actor", "device_id"), who, strict=True)),
        "session_id": str(uuid.uuid5(NAMESPACE, "\x1f".join([*who, first["event_id"]]))),
        "started_at": start,
        "ended_at": last["event_time"],
        "first_event_id": first["event_id"],
        "last_event_id": last["event_id"],
        "events": len(session),
        "events_after_midnight": sum(e["event_time"].date() > start.date() for e in session),
        "views": len(views),
        "key_events": keys,
        "engaged": last["event_time"] - start > timedelta(seconds=10) or keys > 0 or len(views) > 1,
        "entry": path[0] if path else "",
        "exit": path[-1] if path else "",
        "campaign": next((e["campaign"] for e in session if e["campaign"]), ""),
        "device": next((e["device"] for e in session if e["device"]), ""),
        "goal_minor": sum(minor for minor, unit in goals if unit == currency),
        "goal_currency": currency,
        "goals_in_other_currencies": sum(unit != currency for _, unit in goals),
        "steps": len(path),
        "path": path[:100],
    }
