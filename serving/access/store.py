"""The access database: workspaces, keys, and every change of them, in SQLite or PostgreSQL.

Belongs here: its tables and statements. Does not belong here: what a role may do (`roles`), remembering keys between
requests (`serving.api.callers`).

A change and its line in the audit log are one transaction. Times are stored as milliseconds since 1970.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, IntegrityError

from serving.access.keys import Key, NewKey, digest_of, id_of, make_token
from serving.access.roles import Role

SCHEMA_VERSION = 1
NAME = re.compile(r"[\w.@:+-][\w .@:+-]{0,99}")

_tables = sa.MetaData()
_version = sa.Table("access_schema", _tables, sa.Column("version", sa.Integer, primary_key=True))
_workspaces = sa.Table(
    "workspaces",
    _tables,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
_keys = sa.Table(
    "api_keys",
    _tables,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("workspace", sa.ForeignKey("workspaces.name"), nullable=False, index=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("replaced_by", sa.String(12)),
)
_log = sa.Table(
    "access_log",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("workspace", sa.String(100), nullable=False, index=True),
    sa.Column("key_id", sa.String(12), nullable=False),
    sa.Column("detail", sa.String(400), nullable=False),
)


class AccessError(Exception):
    """The access database refuses a change; the message names the value."""


class AccessUnavailableError(Exception):
    """The access database does not answer."""


class AccessStore:
    """Workspaces and keys. Thread-safe. Every method may raise AccessUnavailableError."""

    def __init__(self, url: str) -> None:
        """`sqlite:///path` or `postgresql://…`. Nothing is opened before the first call."""
        try:
            self._engine: Engine = sa.create_engine(url, pool_pre_ping=True)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
            raise AccessError(f"access database: {error}") from error
        self.url = self._engine.url.render_as_string(hide_password=True)
        self._is_ready = False

    def ensure_schema(self) -> None:
        """Make what is missing. Safe to repeat, and for two processes at once."""
        for attempt in (1, 2):
            try:
                with self._errors(), self._engine.begin() as connection:
                    _tables.create_all(connection)
                    found = connection.scalar(sa.select(sa.func.max(_version.c.version)))
                    if found is None:
                        connection.execute(_version.insert().values(version=SCHEMA_VERSION))
            except IntegrityError:  # the other process was first
                continue
            except AccessUnavailableError:
                if attempt == 2:
                    raise
                continue
            if found is not None and found > SCHEMA_VERSION:
                raise AccessError(
                    f"access database {self.url} has version {found}, this program knows {SCHEMA_VERSION}"
                )
            break
        self._is_ready = True

    def create_key(
        self,
        workspace: str,
        role: Role,
        now: datetime,
        *,
        name: str = "",
        expires_in: timedelta | None = None,
        actor: str = "cli",
    ) -> NewKey:
        """Make a key, and its workspace if it is new. Raises AccessError for names of another form."""
        for what, text in (("workspace", workspace), ("name", name)):
            if not NAME.fullmatch(text) and (text or what == "workspace"):
                raise AccessError(f"{what} {text[:100]!r}: letters, digits, spaces and . _ @ : + -, at most 100")
        key_id, token = make_token()
        key = Key(key_id, workspace, role, name, now, now + expires_in if expires_in else None, None, None)
        with self._begin() as connection:
            if connection.scalar(sa.select(_workspaces.c.name).where(_workspaces.c.name == workspace)) is None:
                connection.execute(_workspaces.insert().values(name=workspace, created_at=_millis(now)))
                _write(connection, now, actor, "workspace.created", workspace=workspace, key_id="", detail="")
            self._insert(connection, key, token)
            detail = f"role {role}, {_until(key)}"
            _write(connection, now, actor, "key.created", workspace=workspace, key_id=key_id, detail=detail)
        return NewKey(token, key)

    def rotate_key(
        self, key_id: str, now: datetime, *, overlap: timedelta, workspace: str | None = None, actor: str = "cli"
    ) -> NewKey | None:
        """Make a key like this one; the old one is good for `overlap` more. None: there is no such good key.

        The new key lives as long as the old one did from its making. A key is replaced once.
        """
        new_id, token = make_token()
        with self._begin() as connection:
            old = self._one(connection, key_id, workspace)
            if old is None or not old.is_good(now) or old.replaced_by:
                return None
            lifetime = old.expires_at - old.created_at if old.expires_at else None
            new = Key(new_id, old.workspace, old.role, old.name, now, now + lifetime if lifetime else None, None, None)
            ends = min(now + overlap, old.expires_at or now + overlap)
            replaced = connection.execute(
                _keys.update()
                .where(_keys.c.id == key_id, _keys.c.replaced_by.is_(None))
                .values(expires_at=_millis(ends), replaced_by=new_id)
            )
            if replaced.rowcount != 1:  # another rotation was first
                return None
            self._insert(connection, new, token)
            detail = f"to {new_id}; good until {ends:%FT%TZ}"
            _write(connection, now, actor, "key.rotated", workspace=old.workspace, key_id=key_id, detail=detail)
        return NewKey(token, new)

    def revoke_key(self, key_id: str, now: datetime, *, workspace: str | None = None, actor: str = "cli") -> bool:
        """End a key for good. False: there is no such key (of this workspace). A revoked one stays as it is."""
        with self._begin() as connection:
            found = self._one(connection, key_id, workspace)
            if found is None:
                return False
            if found.revoked_at is None:
                connection.execute(_keys.update().where(_keys.c.id == key_id).values(revoked_at=_millis(now)))
                _write(connection, now, actor, "key.revoked", workspace=found.workspace, key_id=key_id, detail="")
        return True

    def find(self, token: str) -> Key | None:
        """The key that a token is, good or not; None for what is none."""
        key_id = id_of(token)
        if key_id is None:
            return None
        with self._begin() as connection:
            row = connection.execute(_keys.select().where(_keys.c.id == key_id)).one_or_none()
        if row is None or not hmac.compare_digest(row.digest, digest_of(token)):
            return None
        return _key(row)

    def keys(self, workspace: str | None = None) -> list[Key]:
        """Keys of a workspace (None: all of them), oldest first."""
        query = _keys.select().order_by(_keys.c.created_at, _keys.c.id)
        if workspace is not None:
            query = query.where(_keys.c.workspace == workspace)
        with self._begin() as connection:
            return [_key(row) for row in connection.execute(query)]

    def log(self, workspace: str | None = None) -> list[dict[str, Any]]:
        """Every change, oldest first: `at` (UTC), `actor`, `action`, `workspace`, `key_id`, `detail`."""
        query = _log.select().order_by(_log.c.id)
        if workspace is not None:
            query = query.where(_log.c.workspace == workspace)
        with self._begin() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return [{**row, "at": _moment(row["at"])} for row in rows]

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        if not self._is_ready:
            self.ensure_schema()
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise AccessUnavailableError(f"access database {self.url}: {error.orig}") from error

    def _one(self, connection: Connection, key_id: str, workspace: str | None) -> Key | None:
        query = _keys.select().where(_keys.c.id == key_id)
        if workspace is not None:
            query = query.where(_keys.c.workspace == workspace)
        row = connection.execute(query).one_or_none()
        return _key(row) if row is not None else None

    def _insert(self, connection: Connection, key: Key, token: str) -> None:
        connection.execute(
            _keys.insert().values(
                id=key.id,
                workspace=key.workspace,
                role=key.role.value,
                name=key.name,
                digest=digest_of(token),
                created_at=_millis(key.created_at),
                expires_at=_millis(key.expires_at) if key.expires_at else None,
            )
        )


def _write(
    connection: Connection, at: datetime, actor: str, action: str, *, workspace: str, key_id: str, detail: str
) -> None:
    connection.execute(
        _log.insert().values(
            at=_millis(at), actor=actor, action=action, workspace=workspace, key_id=key_id, detail=detail
        )
    )


def _key(row: Row[Any]) -> Key:
    return Key(
        row.id, row.workspace, Role(row.role), row.name, _moment(row.created_at),
        _moment(row.expires_at) if row.expires_at is not None else None,
        _moment(row.revoked_at) if row.revoked_at is not None else None,
        row.replaced_by,
    )  # fmt: skip


def _until(key: Key) -> str:
    return f"until {key.expires_at:%FT%TZ}" if key.expires_at else "without end"


def _millis(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _moment(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
