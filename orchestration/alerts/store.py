"""What alerts must remember: where every rule stands, incidents, what is to be delivered, silences. One SQLite file.

Belongs here: tables and transactions. Does not belong here: what they mean.

A bucket's step, the incident it opens and the messages that follow are one transaction: a kill leaves all or nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analytics.incidents import IncidentState, Verdict
from contracts.alerts.model import Rule

_TABLES = """
CREATE TABLE IF NOT EXISTS states (
    rule TEXT, version INTEGER, member TEXT, state TEXT, PRIMARY KEY (rule, version, member)
);
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY, rule TEXT, version INTEGER, member TEXT, description TEXT, text TEXT, value REAL,
    bucket TEXT, opened TEXT, closed TEXT, silenced INTEGER
);
CREATE TABLE IF NOT EXISTS outbox (
    incident TEXT, channel TEXT, status TEXT, attempts INTEGER, next_at TEXT, error TEXT,
    PRIMARY KEY (incident, channel)
);
CREATE TABLE IF NOT EXISTS silences (rule TEXT PRIMARY KEY, until TEXT);
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """`member`: the group, e.g. `network=app` ('' for a rule without groups). Times: UTC; `closed` None while open."""

    id: str
    rule: str
    version: int
    member: str
    description: str
    text: str
    value: float | None
    bucket: datetime
    opened: datetime
    closed: datetime | None
    silenced: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a channel. `status`: due, sent or failed (given up)."""

    incident: str
    channel: str
    status: str
    attempts: int
    next_at: datetime
    error: str


class AlertStore:
    """Safe to use from several threads and processes. `now` is always the caller's clock, UTC."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as db:
            db.executescript(_TABLES)

    def state(self, rule: Rule, member: str) -> IncidentState:
        with self._open() as db:
            key = (rule.id, rule.version, member)
            row = db.execute("SELECT state FROM states WHERE rule = ? AND version = ? AND member = ?", key).fetchone()
        return _read_state(row[0]) if row else IncidentState()

    def members(self, rule: Rule) -> list[str]:
        """The groups this rule has been judged in."""
        with self._open() as db:
            key = (rule.id, rule.version)
            return [row[0] for row in db.execute("SELECT member FROM states WHERE rule = ? AND version = ?", key)]

    def commit(
        self, rule: Rule, member: str, state: IncidentState, opened: Verdict | None, now: datetime
    ) -> Incident | None:
        """Remember where the rule stands; with `opened`, the incident too and a message to each channel of the rule.

        Silenced rules open incidents that are told to nobody. Returns the incident that was opened.
        """
        assert state.opened is not None or opened is None  # noqa: S101 - a step opens by setting it
        with self._open() as db:
            text = json.dumps(asdict(state), default=_iso)
            db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)", (rule.id, rule.version, member, text))
            if state.opened is not None:
                closed = _iso(state.closed) if state.closed else None
                db.execute("UPDATE incidents SET closed = ? WHERE id = ?", (closed, incident_id(rule, member, state)))
            if opened is None or state.opened is None:
                return None
            silenced = any(
                row[0] > _iso(now) for row in db.execute("SELECT until FROM silences WHERE rule = ?", (rule.id,))
            )
            incident = Incident(
                incident_id(rule, member, state), rule.id, rule.version, member, rule.description, opened.text,
                opened.value, opened.bucket.astimezone(UTC), state.opened.astimezone(UTC), None, silenced,
            )  # fmt: skip
            row = [_iso(v) if isinstance(v, datetime) else v for v in asdict(incident).values()]
            db.execute(f"INSERT OR IGNORE INTO incidents VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - question marks only
            for channel in () if silenced else rule.channels:
                first = (incident.id, channel, "due", 0, _iso(now), "")
                db.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, ?)", first)
        return incident

    def incidents(self, *, only_open: bool = False, limit: int = 1000) -> list[Incident]:
        """The newest first."""
        where = "WHERE closed IS NULL" if only_open else ""
        with self._open() as db:
            rows = db.execute(
                f"SELECT * FROM incidents {where} ORDER BY opened DESC, id LIMIT ?",  # noqa: S608 - one of two constants
                (limit,),
            )
            return [_incident(row) for row in rows]

    def incident(self, name: str) -> Incident:
        """Raises KeyError."""
        with self._open() as db:
            row = db.execute("SELECT * FROM incidents WHERE id = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return _incident(row)

    def messages(self, of: str | None = None) -> list[Message]:
        with self._open() as db:
            rows = db.execute("SELECT * FROM outbox WHERE ? IS NULL OR incident = ?", (of, of)).fetchall()
        return [
            Message(incident, channel, status, attempts, _time(next_at), error)
            for incident, channel, status, attempts, next_at, error in rows
        ]

    def due(self, now: datetime) -> list[Message]:
        """Messages whose next attempt has come, the oldest first."""
        return sorted((m for m in self.messages() if m.status == "due" and m.next_at <= now), key=lambda m: m.next_at)

    def attempted(self, message: Message, status: str, next_at: datetime, error: str) -> None:
        with self._open() as db:
            db.execute(
                "UPDATE outbox SET status = ?, attempts = attempts + 1, next_at = ?, error = ?"
                " WHERE incident = ? AND channel = ?",
                (status, _iso(next_at), error, message.incident, message.channel),
            )

    def silence(self, rule: str, until: datetime) -> None:
        """Tell nobody about incidents of this rule that open before `until`; a moment that is past ends a silence."""
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO silences VALUES (?, ?)", (rule, _iso(until)))

    def silences(self, now: datetime) -> Mapping[str, datetime]:
        with self._open() as db:
            return {rule: _time(until) for rule, until in db.execute("SELECT * FROM silences") if _time(until) > now}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT") if db.in_transaction else None
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        finally:
            db.close()


def incident_id(rule: Rule, member: str, state: IncidentState) -> str:
    """The same incident has the same id however often it is opened: after a kill, or on another machine."""
    opened = _iso(state.opened) if state.opened else ""
    return hashlib.sha256(f"{rule.id}/{rule.version}/{member}/{opened}".encode()).hexdigest()[:16]


def _incident(row: Sequence[Any]) -> Incident:
    name, rule, version, member, description, text, value, bucket, opened, closed, silenced = row
    end = _time(closed) if closed else None
    times = (_time(bucket), _time(opened), end)
    return Incident(name, rule, version, member, description, text, value, *times, bool(silenced))


def _read_state(text: str) -> IncidentState:
    found = json.loads(text)
    times = {name: _time(found[name]) if found[name] else None for name in ("through", "opened", "closed")}
    return IncidentState(**{**found, **times})


def _iso(moment: object) -> str:
    assert isinstance(moment, datetime)  # noqa: S101 - nothing else is given
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text))
