"""The engine under the HTTP interface: connections, settings, statements, inserts, kill.

Belongs here: everything that calls chdb. Does not belong here: HTTP. All functions block; the server calls them in
threads.

A connection costs 0.1 ms and keeps its own settings and temporary tables, so every request gets a fresh one and nothing
leaks from one request to the next; a session keeps its connection.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final
from xml.sax.saxutils import escape

from deploy.local.clickhouse.access import write_users
from deploy.local.clickhouse.errors import QueryError, from_engine, refuse
from deploy.local.clickhouse.statement import Statement

log = logging.getLogger(__name__)

MARKER: Final = "chdb_client_name"
"""The engine gives every query an id of its own; the client's id rides in this setting, where KILL QUERY can see it."""

SERVER_DEFAULTS: Final[dict[str, str]] = {
    "implicit_select": "0",  # chdb takes `1 + 1` for a query; a server answers with a syntax error
    "allow_introspection_functions": "0",
    "max_partitions_per_insert_block": "0",  # a backfill may touch every month at once
}
"""What a fresh connection needs to behave as a server's."""

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


class EngineStartError(RuntimeError):
    """The folder cannot be opened; the message is one line for a person."""


@dataclass(frozen=True)
class Statistics:
    """What a statement did; `X-ClickHouse-Summary` is made of it."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


class Engine:
    """One open folder. Raises `EngineStartError` where it cannot be opened."""

    def __init__(self, path: Path, *, max_memory: int) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            config = path / "engine.xml"
            config.write_text(_configuration(max_memory, write_users(path)), encoding="utf-8")
            _check_unlocked(path / "status")
        except OSError as error:
            raise EngineStartError(f"cannot use the folder {path}: {error.strerror}") from error
        self._connect = _import_connect()
        try:
            self._keeper = self._connect(f"{path}?config-file={config}")  # keeps the folder open between requests
            _close_the_folder_behind_default(self._keeper)
            row = self._keeper.query("SELECT version(), timezone(), hostName()", "TSV").bytes().decode().split()
        except Exception as error:
            raise EngineStartError(f"cannot open the data in {path}: {' '.join(str(error).split())}") from error
        self.version, self.timezone, self.host_name = row

    def connect(self) -> Connection:
        return Connection(self._connect(str(self._path)))

    def kill(self, query_id: str) -> None:
        """Ask the engine to stop a query of ours; returns at once, and quietly where it has ended."""
        self._kill(f"Settings['{MARKER}'] = {quote(query_id)}")

    def kill_all(self) -> None:
        self._kill("1")

    def _kill(self, condition: str) -> None:
        connection = self.connect()
        try:
            connection.run(f"KILL QUERY WHERE {condition} ASYNC".encode())
        except QueryError as error:
            log.debug("kill where %s: %s", condition, error.text)
        finally:
            connection.close()

    def close(self) -> None:
        self._keeper.close()


class Connection:
    """One chdb connection; one statement at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def set(self, values: Mapping[str, str]) -> None:
        """Change settings of this connection, in one statement."""
        for name in values:
            if not _SETTING_NAME.match(name):
                raise refuse("UNKNOWN_SETTING", f"Unknown setting {quote(name)}")
        if values:
            self.run(("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in values.items())).encode())

    def run(
        self, sql: bytes, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None
    ) -> tuple[bytes, Statistics]:
        """Run any statement that answers with little; the answer is in `fmt`."""
        started = time.perf_counter_ns()
        try:
            result = self._raw._conn.query(sql, fmt, params=dict(params or {}))
            body = result.bytes()
        except Exception as error:
            raise from_engine(error) from None
        return body, _statistics(result, len(body), started)

    def pour(self, statement: Statement, fmt: str, descriptor: int, params: Mapping[str, str]) -> Statistics:
        """Run a read and let the engine write its output into a pipe, however long it is."""
        started = time.perf_counter_ns()
        try:
            result = self._raw._conn.query(
                statement.into_file(f"/dev/fd/{descriptor}", fmt), "Null", params=dict(params)
            )
        except Exception as error:
            raise from_engine(error) from None
        finally:
            os.close(descriptor)
        return _statistics(result, 0, started)

    def begin_insert(self, statement: Statement) -> Insert:
        return Insert(self._raw, statement)

    def read_settings(self, names: list[str]) -> dict[str, str | None]:
        """Current values; None where a setting has its default."""
        sql = b"SELECT name, value, changed FROM system.settings WHERE has({names:Array(String)}, name)"
        body, _ = self.run(sql, "JSONCompactEachRow", {"names": "[" + ", ".join(map(quote, names)) + "]"})
        found: dict[str, str | None] = dict.fromkeys(names)
        for line in body.decode().splitlines():
            name, value, changed = json.loads(line)
            found[name] = value if changed else None
        if "database" in found:  # USE does not show in the setting
            found["database"] = self.run(b"SELECT currentDatabase()", "TabSeparatedRaw")[0].decode().rstrip("\n")
        return found

    def restore(self, values: Mapping[str, str | None]) -> None:
        terms = ", ".join(f"{name} = {'DEFAULT' if value is None else quote(value)}" for name, value in values.items())
        self.run(f"SET {terms}".encode())

    def close(self) -> None:
        self._raw.close()


class Insert:
    """An INSERT whose data comes in pieces: `append` bytes of its format, then `finish` or `cancel`.

    The engine begins when the data is complete in a temporary file. Its own streaming insert (chdb's `send_insert`) is
    not used: it answers "written" also when a constraint, a view or the disk stopped the block, and the rows would be
    lost without a word.
    """

    def __init__(self, raw: Any, statement: Statement) -> None:
        self._raw = raw
        self._statement = statement
        self._data = TemporaryFile()  # noqa: SIM115 - closed by finish or cancel

    def append(self, data: bytes) -> None:
        self._data.write(data)

    def finish(self) -> Statistics:
        started = time.perf_counter_ns()
        try:
            self._data.flush()
            place = f" FROM INFILE '/dev/fd/{self._data.fileno()}' COMPRESSION 'none' "
            sql = f"{self._statement.with_clause(place)} FORMAT {self._statement.format}"
            result = self._raw._conn.query(sql.encode("latin-1"), "Null")
        except Exception as error:
            raise from_engine(error) from None
        finally:
            self._data.close()
        rows, size = int(result.rows_written()), int(result.bytes_written())
        return Statistics(
            read_rows=rows,
            read_bytes=size,
            written_rows=rows,
            written_bytes=size,
            result_rows=rows,
            result_bytes=size,
            elapsed_ns=time.perf_counter_ns() - started,
        )

    def cancel(self) -> None:
        self._data.close()


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _statistics(result: Any, size: int, started: int) -> Statistics:
    return Statistics(
        read_rows=int(result.storage_rows_read()),
        read_bytes=int(result.storage_bytes_read()),
        written_rows=int(result.rows_written()),
        written_bytes=int(result.bytes_written()),
        result_rows=int(result.rows_read()),
        result_bytes=size or int(result.bytes_read()),
        elapsed_ns=time.perf_counter_ns() - started,
    )


def _import_connect() -> Any:
    """chdb's `connect`. It imports pyarrow and pandas where it finds them: 60 MB that this process never uses."""
    for name in ("pyarrow", "pandas"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how Python marks "not importable"
    from chdb import _chdb
    from chdb.state.sqlitelike import connect

    module: Any = _chdb  # its stub leaves this function out
    module.set_signal_handlers_enabled(False)  # SIGTERM is the HTTP server's: it drains first
    return connect


def _close_the_folder_behind_default(keeper: Any) -> None:
    """Take the machine's files out of the database `default`: chdb lays them under it, as tables by their paths.

    What is left is the database that a server has; its tables are the same ones. Each start makes the layer anew.
    """
    identity = keeper.query("SELECT uuid FROM system.databases WHERE name = 'default'", "TSV").bytes().decode().strip()
    keeper.query("DETACH DATABASE default")
    keeper.query(f"ATTACH DATABASE default UUID {quote(identity)} ENGINE = Atomic")


def _check_unlocked(status: Path) -> None:
    """The engine holds a lock on this file while it runs, and says "Error initializing" where another has it."""
    if not status.exists():
        return
    with status.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = re.search(r"PID: (\d+)", file.read())
            who = f"process {holder.group(1)}" if holder else "another process"
            raise EngineStartError(f"the folder {status.parent} is in use by {who}: stop it first") from None


def _configuration(max_memory: int, users: Path) -> str:
    """Server-level settings. Pools and caches are sized for a laptop that runs the whole stack beside the engine."""
    values = {
        "users_config": users,
        "max_server_memory_usage": max_memory,
        "mark_cache_size": 64 << 20,
        "index_mark_cache_size": 16 << 20,
        "uncompressed_cache_size": 0,
        "background_pool_size": 2,
        "background_merges_mutations_concurrency_ratio": 1,
        "background_schedule_pool_size": 4,
        "background_common_pool_size": 2,
        "background_fetches_pool_size": 1,
        "background_move_pool_size": 1,
        "timezone": "UTC",
    }
    lines = "".join(f"  <{name}>{escape(str(value))}</{name}>\n" for name, value in values.items())
    rights = "<table_engines_require_grant>true</table_engines_require_grant>"
    return (
        f"<clickhouse>\n{lines}  <access_control_improvements>{rights}</access_control_improvements>\n</clickhouse>\n"
    )
