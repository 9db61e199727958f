"""The tables of the SQLite raw store and the statements over them.

Belongs here: SQL text. Does not belong here: connections and transactions (`sqlite`).
A rowid table keeps the wide rows in the order they came; the identity and the position are narrow unique indexes.
"""

# ruff: noqa: S608 - every f-string here is made of constants of this file and column names of our own schemas

from __future__ import annotations

from collections.abc import Mapping

from contracts.envelope import EVENT_SCHEMA, REJECT_SCHEMA, STORED_SCHEMA
from resources.raw_store.frames import QUARANTINE_SCHEMA

VERSION = 1
"""Kept in `PRAGMA user_version`."""

_TYPES = {"UInt16": "INTEGER", "Int32": "INTEGER", "Int64": "INTEGER", "Datetime": "INTEGER", "Binary": "BLOB"}
_POSITION_DDL = "log_topic TEXT NOT NULL, log_partition INTEGER NOT NULL, log_offset INTEGER NOT NULL"


def _columns(schema: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_TYPES.get(type(dtype).__name__, 'TEXT')} NOT NULL" for name, dtype in schema.items())


DDL = (
    f"CREATE TABLE IF NOT EXISTS events ({_columns({**EVENT_SCHEMA})}, {_POSITION_DDL})",
    "CREATE UNIQUE INDEX IF NOT EXISTS events_identity ON events (workspace, event_id)",
    "CREATE UNIQUE INDEX IF NOT EXISTS events_position ON events (log_topic, log_partition, log_offset)",
    "CREATE INDEX IF NOT EXISTS events_receipt ON events (receipt_id)",
    f"CREATE TABLE IF NOT EXISTS duplicates ({_POSITION_DDL}, workspace TEXT NOT NULL, event_id TEXT NOT NULL,"
    " receipt_id TEXT NOT NULL, PRIMARY KEY (log_topic, log_partition, log_offset)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS duplicates_receipt ON duplicates (receipt_id)",
    f"CREATE TABLE IF NOT EXISTS quarantine ({_columns({**REJECT_SCHEMA})}, {_POSITION_DDL},"
    " status TEXT NOT NULL DEFAULT 'open', attempts INTEGER NOT NULL DEFAULT 1,"
    " first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '')",
    "CREATE UNIQUE INDEX IF NOT EXISTS quarantine_position ON quarantine (log_topic, log_partition, log_offset)",
    "CREATE INDEX IF NOT EXISTS quarantine_receipt ON quarantine (receipt_id, reason)",
    "CREATE INDEX IF NOT EXISTS quarantine_status ON quarantine (status, first_seen)",
)

EVENT_COLUMNS = ", ".join(STORED_SCHEMA)
_EVENT_VALUES = ", ".join("?" * len(STORED_SCHEMA))
_REFUSED = (*REJECT_SCHEMA, "log_topic", "log_partition", "log_offset")

INSERT_EVENT = (
    f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({_EVENT_VALUES}) ON CONFLICT (workspace, event_id) DO NOTHING"
)

TEMP_OFFERED = (
    "CREATE TEMP TABLE IF NOT EXISTS offered (log_topic TEXT, log_partition INTEGER, log_offset INTEGER,"
    " workspace TEXT, event_id TEXT, receipt_id TEXT)"
)
CLEAR_OFFERED = "DELETE FROM temp.offered"
INSERT_OFFERED = "INSERT INTO temp.offered VALUES (?, ?, ?, ?, ?, ?)"
FIND_CLASH = (
    "SELECT o.log_topic, o.log_partition, o.log_offset, e.workspace, e.event_id, o.workspace, o.event_id"
    " FROM temp.offered AS o JOIN events AS e USING (log_topic, log_partition, log_offset)"
    " WHERE (e.workspace, e.event_id) <> (o.workspace, o.event_id) LIMIT 1"
)
_ELSEWHERE = (
    "FROM temp.offered AS o JOIN events AS e ON e.workspace = o.workspace AND e.event_id = o.event_id"
    " WHERE (e.log_topic, e.log_partition, e.log_offset) <> (o.log_topic, o.log_partition, o.log_offset)"
)
COUNT_DUPLICATES = f"SELECT count(*) {_ELSEWHERE}"
INSERT_DUPLICATES = (
    "INSERT INTO duplicates (log_topic, log_partition, log_offset, workspace, event_id, receipt_id)"
    " SELECT o.log_topic, o.log_partition, o.log_offset, o.workspace, o.event_id, o.receipt_id"
    f" {_ELSEWHERE} ON CONFLICT DO NOTHING"
)

_SPAN = "log_topic = ? AND log_partition = ? AND log_offset >= ? AND log_offset < ?"
COUNT_SPAN = {table: f"SELECT count(*) FROM {table} WHERE {_SPAN}" for table in ("events", "duplicates", "quarantine")}
OFFSETS_SPAN = {
    table: f"SELECT log_offset FROM {table} WHERE {_SPAN}" for table in ("events", "duplicates", "quarantine")
}
DUPLICATES_SPAN = f"SELECT log_topic, log_partition, log_offset, workspace, event_id FROM duplicates WHERE {_SPAN}"
POSITIONS_SPAN = {
    table: f"SELECT log_topic, log_partition, log_offset FROM {table} WHERE {_SPAN}"
    for table in ("events", "duplicates", "quarantine")
}
_SAME = (
    "{other}.log_topic = {table}.log_topic AND {other}.log_partition = {table}.log_partition"
    " AND {other}.log_offset = {table}.log_offset"
)


def _also_in(table: str, *others: str) -> str:
    """Positions of a span that have a verdict in `table` and in one of the others: they must not be counted twice."""
    exists = " OR ".join(
        f"EXISTS (SELECT 1 FROM {other} WHERE {_SAME.format(other=other, table=table)})" for other in others
    )
    return f"SELECT count(*) FROM {table} WHERE {_SPAN} AND ({exists})"


COUNT_OVERLAP = (_also_in("duplicates", "events"), _also_in("quarantine", "events", "duplicates"))

READ_EVENTS = f"SELECT {EVENT_COLUMNS} FROM events WHERE {_SPAN} ORDER BY log_offset LIMIT ?"
READ_DUPLICATES = (
    f"SELECT log_topic, log_partition, log_offset, workspace, event_id, receipt_id FROM duplicates WHERE {_SPAN}"
)
READ_REFUSED = f"SELECT {', '.join(_REFUSED)} FROM quarantine WHERE {_SPAN}"
FIND_POSITION = (
    "SELECT workspace, event_id, log_topic, log_partition, log_offset FROM events WHERE workspace = ? AND event_id = ?"
)
FORGET = tuple(
    f"DELETE FROM {table} WHERE log_topic = ? AND log_partition = ? AND log_offset = ?"
    for table in ("events", "duplicates", "quarantine")
)
GET_EVENT = f"SELECT {EVENT_COLUMNS} FROM events WHERE workspace = ? AND event_id = ?"

INSERT_QUARANTINE = (
    f"INSERT INTO quarantine ({', '.join(_REFUSED)}, first_seen, last_seen)"
    f" VALUES ({', '.join('?' * (len(_REFUSED) + 2))})"
    " ON CONFLICT (log_topic, log_partition, log_offset) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)"
)
_ID = "log_topic || '/' || log_partition || '@' || log_offset AS id"
_SELECT_QUARANTINE = "SELECT " + ", ".join(_ID if name == "id" else name for name in QUARANTINE_SCHEMA)
TEMP_WANTED = "CREATE TEMP TABLE IF NOT EXISTS wanted (log_topic TEXT, log_partition INTEGER, log_offset INTEGER)"
CLEAR_WANTED = "DELETE FROM temp.wanted"
INSERT_WANTED = "INSERT INTO temp.wanted VALUES (?, ?, ?)"
_IS_WANTED = "(log_topic, log_partition, log_offset) IN (SELECT * FROM temp.wanted)"
_CONDITIONS = {
    "reason": "reason = ?",
    "workspace": "workspace = ?",
    "network": "network = ?",
    "status": "status = ?",
    "since": "first_seen >= ?",
    "until": "first_seen < ?",
}


def select_quarantine(*, wanted: bool, **given: str | int | None) -> tuple[str, tuple[str | int, ...]]:
    """The query for the given conditions (those not None) and its values; the limit is the last parameter."""
    conditions = [_IS_WANTED] if wanted else []
    values = {name: value for name, value in given.items() if value is not None}
    conditions += [_CONDITIONS[name] for name in values]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = " ORDER BY first_seen, log_topic, log_partition, log_offset LIMIT ?"
    return f"{_SELECT_QUARANTINE} FROM quarantine{where}{order}", tuple(values.values())


COUNT_QUARANTINE = (
    "SELECT status, reason, network, count(*), min(first_seen), max(last_seen) FROM quarantine"
    " GROUP BY status, reason, network ORDER BY status, reason, network"
)
MARK_QUARANTINE = (
    "UPDATE quarantine SET attempts = attempts + (?1 = 'replayed'), status = ?1, note = ?2"
    " WHERE log_topic = ?3 AND log_partition = ?4 AND log_offset = ?5"
)

_PLACE = "log_topic, log_partition, log_offset"
RECEIPT_ROWS = (
    f"SELECT 'stored' AS verdict, workspace, event_id, '' AS reason, '' AS detail, '' AS place, {_PLACE}"
    " FROM events WHERE receipt_id = ?1"
    f" UNION ALL SELECT 'duplicate', workspace, event_id, '', '', '', {_PLACE} FROM duplicates WHERE receipt_id = ?1"
    f" UNION ALL SELECT 'quarantined', workspace, '', reason, detail, place, {_PLACE} FROM quarantine"
    f" WHERE receipt_id = ?1 ORDER BY {_PLACE} LIMIT ?2"
)
RECEIPT_STORED = "SELECT count(*) FROM events WHERE receipt_id = ?"
RECEIPT_DUPLICATE = "SELECT count(*) FROM duplicates WHERE receipt_id = ?"
RECEIPT_REASONS = "SELECT reason, count(*) FROM quarantine WHERE receipt_id = ? GROUP BY reason ORDER BY reason"
