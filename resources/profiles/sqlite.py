"""Profiles in the raw store's SQLite file.

Belongs here: the tables and statements. Does not belong here: connections (`resources.raw_store.sqlite_connection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import orjson

from resources.profiles.base import (
    PROFILE_VERSION,
    Profile,
    ProfileKey,
    ProfileUpdate,
    Snapshot,
    milliseconds,
    moment_of,
    newest_fields,
    seen_span,
    values_text,
)
from resources.raw_store.base import RawStoreError
from resources.raw_store.sqlite_connection import Connections

_KEY = "workspace TEXT NOT NULL, network TEXT NOT NULL, account TEXT NOT NULL"
_DDL = (
    f"CREATE TABLE IF NOT EXISTS profiles ({_KEY}, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,"
    " schema_version INTEGER NOT NULL, PRIMARY KEY (workspace, network, account)) WITHOUT ROWID",
    f"CREATE TABLE IF NOT EXISTS profile_fields ({_KEY}, field TEXT NOT NULL, value TEXT NOT NULL,"
    " seen_at INTEGER NOT NULL, PRIMARY KEY (workspace, network, account, field)) WITHOUT ROWID",
    f"CREATE TABLE IF NOT EXISTS profile_snapshots ({_KEY}, taken_at INTEGER NOT NULL, fields TEXT NOT NULL,"
    " schema_version INTEGER NOT NULL, PRIMARY KEY (workspace, network, account, taken_at)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS profile_snapshots_taken ON profile_snapshots (taken_at)",
)
_PUT_PROFILE = (
    f"INSERT INTO profiles VALUES (?, ?, ?, ?, ?, {PROFILE_VERSION}) ON CONFLICT DO UPDATE SET"  # noqa: S608 - a constant of ours
    " first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)"
)
_PUT_FIELD = (
    "INSERT INTO profile_fields VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value,"
    " seen_at = excluded.seen_at WHERE (excluded.seen_at, excluded.value) > (seen_at, value)"
)
_OF = "workspace = ? AND network = ? AND account = ?"
_GET = f"SELECT first_seen, last_seen, schema_version FROM profiles WHERE {_OF}"  # noqa: S608 - a constant of ours
_GET_FIELDS = f"SELECT field, value, seen_at FROM profile_fields WHERE {_OF} ORDER BY field"  # noqa: S608 - as above
_PUT_SNAPSHOT = f"INSERT INTO profile_snapshots VALUES (?, ?, ?, ?, ?, {PROFILE_VERSION}) ON CONFLICT DO NOTHING"  # noqa: S608 - as above
_GET_SNAPSHOTS = (
    f"SELECT taken_at, fields FROM profile_snapshots WHERE {_OF}"  # noqa: S608 - as above
    " AND taken_at >= ? AND taken_at < ? ORDER BY taken_at"
)


class SqliteProfiles:
    """`sqlite:///relative.db` or `sqlite:////absolute.db`. See `resources.profiles.base.Profiles`."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        if not path or path == url:
            raise RawStoreError(f"profiles URL {url!r}: expected sqlite:///path")
        self.url = url
        self._connections = Connections(Path(path))

    def ensure_schema(self) -> None:
        with self._connections.writing() as db:
            for statement in _DDL:
                db.execute(statement)

    def update(self, updates: Sequence[ProfileUpdate]) -> None:
        fields, spans = newest_fields(updates), seen_span(updates)
        with self._connections.writing() as db:
            db.executemany(_PUT_PROFILE, [(*key, *span) for key, span in spans.items()])
            rows = [
                (*key, name, item.text, item.seen_ms) for key, named in fields.items() for name, item in named.items()
            ]
            db.executemany(_PUT_FIELD, rows)

    def get(self, key: ProfileKey) -> Profile | None:
        with self._connections.reading() as db:
            found = db.execute(_GET, key).fetchone()
            fields = db.execute(_GET_FIELDS, key).fetchall()
        if found is None:
            return None
        return Profile(
            key,
            {name: orjson.loads(text) for name, text, _ in fields},
            {name: moment_of(at) for name, _, at in fields},
            moment_of(found[0]),
            moment_of(found[1]),
            found[2],
        )

    def count(self, workspace: str) -> int:
        with self._connections.reading() as db:
            return int(db.execute("SELECT count(*) FROM profiles WHERE workspace = ?", (workspace,)).fetchone()[0])

    def add_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        rows = [(*item.key, milliseconds(item.taken_at), values_text(item)) for item in snapshots]
        with self._connections.writing() as db:
            return max(0, db.executemany(_PUT_SNAPSHOT, rows).rowcount)

    def snapshots(self, key: ProfileKey, start: datetime, end: datetime) -> list[Snapshot]:
        with self._connections.reading() as db:
            rows = db.execute(_GET_SNAPSHOTS, (*key, milliseconds(start), milliseconds(end))).fetchall()
        return [Snapshot(key, moment_of(at), orjson.loads(text)) for at, text in rows]

    def expire_snapshots(self, before: datetime) -> int:
        with self._connections.writing() as db:
            return db.execute("DELETE FROM profile_snapshots WHERE taken_at < ?", (milliseconds(before),)).rowcount

    def close(self) -> None:
        self._connections.close()
