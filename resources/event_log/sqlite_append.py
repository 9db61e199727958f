"""Group commit: appends of several threads that wait for the disk together share one transaction.

Belongs here: queueing, ordering, offsets and append times. Does not belong here: choosing partitions.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resources.crashpoints import crashpoint
from resources.event_log import sqlite_messages as messages
from resources.event_log.base import EventLogError, LogUnavailableError
from resources.event_log.sqlite_db import Database

_MAX_GROUP_MESSAGES = 50_000  # one transaction must not keep other processes waiting for seconds


@dataclass(slots=True)
class _Pending:
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    members: Mapping[int, Sequence[int]]
    offsets: list[int]
    is_done: bool = False
    error: EventLogError | None = None


class Appender:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: deque[_Pending] = deque()

    def append(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None], members: Mapping[int, Sequence[int]]
    ) -> list[int]:
        """Write a batch and return the offset of each message; all of them are durable, or an error is raised.

        Args:
            members: Per partition id the positions in the batch that go there, in order.
        """
        mine = _Pending(keys, values, members, [0] * len(values))
        with self._lock:
            self._waiting.append(mine)
        # Whoever gets the lock first writes for all that wait by then; the others find their work done.
        with self._database.write_lock:
            while not mine.is_done:
                self._write_some()
        if mine.error is not None:
            # A fresh error per caller: one exception object must not be raised in several threads.
            raise type(mine.error)(*mine.error.args) from mine.error
        return mine.offsets

    def _write_some(self) -> None:
        group: list[_Pending] = []
        room = _MAX_GROUP_MESSAGES
        with self._lock:
            while self._waiting and (not group or len(self._waiting[0].values) <= room):
                room -= len(self._waiting[0].values)
                group.append(self._waiting.popleft())
        try:
            with self._database.transaction("append") as connection:
                _write(connection, group)
                crashpoint("event_log.append.before_commit")
            crashpoint("event_log.append.after_commit")
        except EventLogError as error:
            for pending in group:
                pending.error = error
        except BaseException as error:
            # The others in the group must not take an interrupted write (Ctrl-C, a wrong type) for a durable one.
            for pending in group:
                pending.error = LogUnavailableError(f"{self._database.url}: append: interrupted by {error!r}")
            raise
        finally:
            for pending in group:
                pending.is_done = True


def _write(connection: sqlite3.Connection, group: Sequence[_Pending]) -> None:
    # The clock is read under the write lock, so that append times ascend with offsets whichever process appends.
    now_ms = time.time_ns() // 1_000_000
    ends: dict[int, tuple[int, int]] = {}
    for pending in group:
        for partition_id, positions in pending.members.items():
            if partition_id not in ends:
                ends[partition_id] = connection.execute(
                    "SELECT next_offset, last_ms FROM partitions WHERE id = ?", (partition_id,)
                ).fetchone()
            start, last_ms = ends[partition_id]
            appended_ms = max(now_ms, last_ms)
            messages.insert(
                connection,
                partition_id,
                start=start,
                appended_ms=appended_ms,
                keys=[pending.keys[position] for position in positions],
                values=[pending.values[position] for position in positions],
            )
            for offset, position in enumerate(positions, start):
                pending.offsets[position] = offset
            ends[partition_id] = (start + len(positions), appended_ms)
    connection.executemany(
        "UPDATE partitions SET next_offset = ?, last_ms = ? WHERE id = ?",
        [(offset, last_ms, partition_id) for partition_id, (offset, last_ms) in ends.items()],
    )
