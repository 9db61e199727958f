"""Connections to one SQLite file shared by threads and processes, and its errors in the raw store's terms.

Belongs here: opening, pooling, transactions, which SQLite errors are transient. Does not belong here: any table.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.raw_store.base import RawStoreError, RawStoreUnavailableError, RowsRefusedError

BUSY_TIMEOUT_S = 30.0
_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}


_ABOUT_VALUES = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}


class Connections:
    """A pool of connections to `path`, in WAL mode: one writer at a time, readers beside it.

    `synchronous=FULL` makes each commit durable on return, also against loss of power.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot for all statements of the block."""
        with self._borrowed("BEGIN") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block or nothing. Waits up to BUSY_TIMEOUT_S for other writers."""
        with self._borrowed("BEGIN IMMEDIATE") as db:
            yield db

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def _borrowed(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                db = self._idle.pop() if self._idle else None
            db = db or self._open()
            try:
                db.execute(begin)
                yield db
                db.execute("COMMIT")
            except BaseException:
                # Closing rolls back, whatever state an I/O error or an interrupt left the connection in.
                db.close()
                raise
            with self._lock:
                self._idle.append(db)
        except sqlite3.Error as error:
            raise self.refusal(error) from error

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RawStoreUnavailableError(f"raw store {self.path}: {error}") from error
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # 64 MB: random ids dirty most pages of the identity index in every batch, so that each page which is written
        # back once instead of several times counts (measured at 800,000 rows: 27,000 events/s at 16 MB, 48,000 here).
        db.execute("PRAGMA wal_autocheckpoint=16000")
        db.execute("PRAGMA journal_size_limit=67108864")
        db.execute("PRAGMA cache_size=-16000")  # 16 MB per connection
        db.execute("PRAGMA temp_store=MEMORY")
        return db

    def refusal(self, error: sqlite3.Error) -> RawStoreError:
        """The error to raise instead: it names the file and the cause."""
        code = getattr(error, "sqlite_errorcode", None)  # absent where Python itself refuses
        if (code is not None and code & 0xFF in _ABOUT_VALUES) or isinstance(error, sqlite3.DataError):
            return RowsRefusedError(f"raw store {self.path}: {error}")
        if code is not None and code & 0xFF in _TRANSIENT:
            return RawStoreUnavailableError(f"raw store {self.path}: {error}")
        if "no such table" in str(error):
            return RawStoreError(f"raw store {self.path}: {error}; call ensure_schema first")
        return RawStoreError(f"raw store {self.path}: {error}")
