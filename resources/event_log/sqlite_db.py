"""One SQLite file for several processes: connections, transactions, the table layout, and errors in clear words.

Belongs here: what any table of the embedded log needs. Does not belong here: topics, groups, messages.
"""

from __future__ import annotations

import queue
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.event_log.base import EventLogError, LogUnavailableError

_APPLICATION_ID = 0x54_4C_4F_47  # "TLOG": tells an event log from any other SQLite file
_LAYOUT_VERSION = 2
_PAGE_BYTES = 8192
_CHECKPOINT_BYTES = 64 * 1024 * 1024

# Every partition has a table of its own, `log_<id>`: appends then always go to the right edge of a B-tree, which SQLite
# packs densely, and retention cuts its left edge.
_LAYOUT = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    retention_ms INTEGER,
    compacted INTEGER NOT NULL
);
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    partition INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0,         -- first readable offset
    next_offset INTEGER NOT NULL DEFAULT 0, -- the offset the next message gets
    last_ms INTEGER NOT NULL DEFAULT 0,     -- no message to come may be dated before this
    UNIQUE (topic_id, partition)
);
CREATE TABLE group_members (
    group_name TEXT NOT NULL,
    member_id TEXT NOT NULL,
    session TEXT NOT NULL,                  -- one life of the member; a new process is a new session
    topics TEXT NOT NULL,                   -- JSON array of names
    heartbeat_ms INTEGER NOT NULL,          -- monotonic clock of this machine
    PRIMARY KEY (group_name, member_id)
) WITHOUT ROWID;
CREATE TABLE group_assignments (
    group_name TEXT NOT NULL,
    partition_id INTEGER NOT NULL,
    target TEXT,                            -- the member that should have it
    owner TEXT,                             -- the session that has it until it lets go or expires
    PRIMARY KEY (group_name, partition_id)
) WITHOUT ROWID;
CREATE TABLE group_generations (group_name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE group_commits (
    group_name TEXT NOT NULL,
    partition_id INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (group_name, partition_id)
) WITHOUT ROWID;
"""


# SQLite's result codes: whether to try again may help, and the cause in words.
_CAUSES = {
    sqlite3.SQLITE_BUSY: (True, "other processes kept the file locked for {timeout:g} s"),
    sqlite3.SQLITE_LOCKED: (True, "other processes kept the file locked for {timeout:g} s"),
    sqlite3.SQLITE_FULL: (True, "the disk is full, or the log reached its limit (max_bytes={max_bytes})"),
    sqlite3.SQLITE_IOERR: (True, "the disk reports an error ({error})"),
    sqlite3.SQLITE_CANTOPEN: (True, "cannot open the file {path} ({error})"),
    sqlite3.SQLITE_READONLY: (False, "the file {path} is read-only for this process"),
    sqlite3.SQLITE_CORRUPT: (False, "the file {path} is damaged ({error})"),
    sqlite3.SQLITE_NOTADB: (False, "the file {path} is not a SQLite database"),
}


def monotonic_ms() -> int:
    """Milliseconds of the clock all processes of this machine share and nobody can set back."""
    return time.monotonic_ns() // 1_000_000


class Database:
    """The file. Thread-safe: one writing connection behind a lock, a pool of reading ones.

    Args:
        path: The file; its folder is made when missing.
        url: How errors name the log.
        busy_timeout: Seconds to wait for other processes' writes before LogUnavailableError.
        max_bytes: Size the file may grow to; None for as large as the disk.
    """

    def __init__(self, path: Path, url: str, *, busy_timeout: float, max_bytes: int | None) -> None:
        self.path = path
        self.url = url
        self._busy_timeout = busy_timeout
        self._max_bytes = max_bytes
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._closed = False
        self.write_lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EventLogError(f"{url}: cannot make the folder {path.parent}: {error}") from error
        with self.errors("open"):
            self._writer = self.connect(writing=True)
            self._make_layout(self._writer)

    # -- connections -------------------------------------------------------------------------------------------------

    def connect(self, *, writing: bool = False) -> sqlite3.Connection:
        """Open a connection that one thread uses at a time; the caller closes it."""
        # `_retry` does the waiting of writers: SQLite's own back-off sleeps 100 ms and starves beside a busy process.
        connection = sqlite3.connect(
            self.path,
            timeout=0.0 if writing else self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        if writing:
            self._retry(connection, f"PRAGMA page_size = {_PAGE_BYTES}")
            self._retry(connection, "PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // _PAGE_BYTES}")
            connection.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
            if self._max_bytes is not None:
                connection.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // _PAGE_BYTES)}")
        else:
            connection.execute("PRAGMA query_only = ON")
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a transaction: everything read in the block is of one moment."""
        self.check_open()
        with self.errors("read"):
            try:
                connection = self._readers.get_nowait()
            except queue.Empty:
                connection = self.connect()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
                if self._closed:
                    connection.close()
                else:
                    self._readers.put(connection)

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection inside a transaction, durable when the block is left without an error."""
        with self.write_lock, self.transaction(doing) as connection:
            yield connection

    @contextmanager
    def transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """As `writing`, for a caller that holds `write_lock` already."""
        self.check_open()
        with self.errors(doing):
            self._retry(self._writer, "BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def check_open(self) -> None:
        """Raise EventLogError after `close`."""
        if self._closed:
            raise EventLogError(f"{self.url}: the log is closed")

    def close(self) -> None:
        with self.write_lock:
            if self._closed:
                return
            self._closed = True
            self._writer.close()
        while True:
            try:
                self._readers.get_nowait().close()
            except queue.Empty:
                return

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _retry(self, connection: sqlite3.Connection, statement: str) -> None:
        """Execute, trying again every millisecond or two while another process writes."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311 - spreads waiters, protects nothing

    def _make_layout(self, connection: sqlite3.Connection) -> None:
        self._retry(connection, "BEGIN IMMEDIATE")
        try:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if tables == 0:
                for statement in _LAYOUT.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_LAYOUT_VERSION}")
            elif application != _APPLICATION_ID:
                raise EventLogError(f"{self.url}: the file is a SQLite database, but not an event log")
            elif version == 1:
                # Messages of the first layout have no checksum; what is appended from now on has.
                for (key,) in connection.execute("SELECT id FROM partitions").fetchall():
                    connection.execute(f"ALTER TABLE log_{key:d} ADD COLUMN crc INTEGER")
                connection.execute(f"PRAGMA user_version = {_LAYOUT_VERSION}")
            elif version != _LAYOUT_VERSION:
                raise EventLogError(f"{self.url}: layout version {version}, this program reads {_LAYOUT_VERSION}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into the log's own."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error, doing) from error

    def _explain(self, error: sqlite3.Error, doing: str) -> EventLogError:
        is_transient, text = _CAUSES.get(_code(error), (False, "{error}"))
        cause = text.format(error=error, path=self.path, timeout=self._busy_timeout, max_bytes=self._max_bytes)
        return (LogUnavailableError if is_transient else EventLogError)(f"{self.url}: {doing}: {cause}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 for errors of Python's own (a closed connection)."""
    extended = getattr(error, "sqlite_errorcode", None)
    return -1 if extended is None else int(extended) & 0xFF
