"""Noticing that another connection has written to the file, at nearly no cost.

Belongs here: the waiting. Does not belong here: what has been written.
"""

from __future__ import annotations

import time

from resources.event_log.sqlite_db import Database

# Seconds between two looks. One look reads a counter in shared memory: a few microseconds, but also a wake-up.
_PAUSE_BUSY = 0.004
_PAUSE_IDLE = 0.012
_IDLE_AFTER = 1.0  # seconds without news


class Watch:
    """Used by one thread. `mark` before reading, then `wait`: nothing written in between is missed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.errors("watch"):
            self._connection = database.connect()
        self._seen = -1
        self._news_at = time.monotonic()

    def mark(self) -> None:
        self._seen = self._version()

    def news(self) -> None:
        """Say that a change was of interest: more are expected soon, and the looks become frequent."""
        self._news_at = time.monotonic()

    def wait(self, deadline: float) -> None:
        """Return when something was written after `mark`, or at `deadline` (of `time.monotonic`)."""
        while self._version() == self._seen:
            now = time.monotonic()
            if now >= deadline:
                return
            pause = _PAUSE_IDLE if now - self._news_at > _IDLE_AFTER else _PAUSE_BUSY
            time.sleep(min(deadline - now, pause))

    def close(self) -> None:
        self._connection.close()

    def _version(self) -> int:
        self._database.check_open()
        with self._database.errors("watch"):
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version
