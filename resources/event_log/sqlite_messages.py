"""The messages of one partition: its table, reading a stretch of it, finding a time, removing what is old.

Belongs here: statements on `log_<id>` and on a partition's bounds, inside a transaction of the caller. Does not belong
here: topics by name, groups, waiting.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from itertools import repeat

from resources.event_log.base import Messages, TopicPartition

_FETCH_ROWS = 500
_KEPT = """
CREATE TABLE IF NOT EXISTS replaced_messages (
    partition_id INTEGER NOT NULL, log_offset INTEGER NOT NULL, appended_ms INTEGER NOT NULL, key BLOB, value BLOB
)
"""


def _on(statement: str, partition_id: int) -> str:
    """Fill in a partition's table: SQLite binds values, not names. The id is an integer of our own making."""
    return statement.replace("log_N", f"log_{partition_id:d}")


def create_table(connection: sqlite3.Connection, partition_id: int) -> None:
    connection.execute(
        _on(
            "CREATE TABLE log_N (log_offset INTEGER PRIMARY KEY, appended_ms INTEGER NOT NULL, key BLOB, value BLOB,"
            " crc INTEGER)",
            partition_id,
        )
    )


def insert(
    connection: sqlite3.Connection,
    partition_id: int,
    *,
    start: int,
    appended_ms: int,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
) -> None:
    """Write messages at offsets `start, start + 1, …`; the caller moves `next_offset`."""
    connection.executemany(
        _on("INSERT INTO log_N VALUES (?, ?, ?, ?, ?)", partition_id),
        zip(
            range(start, start + len(values)),
            repeat(appended_ms),
            keys,
            values,
            map(checksum, keys, values),
            strict=False,
        ),
    )


def checksum(key: bytes | None, value: bytes | None) -> int:
    """CRC-32 of a message, kept beside it: tells a message that was changed in the file from the one appended."""
    return zlib.crc32(value or b"", zlib.crc32(key or b""))


def inspect(
    connection: sqlite3.Connection, partition_id: int, start: int, end: int
) -> tuple[list[int], list[int], list[int]]:
    """Offsets in `[start, end)` that are absent, whose message does not fit its checksum, and that have none."""
    absent: list[int] = []
    damaged: list[int] = []
    unproven: list[int] = []
    expected = start
    statement = _on(
        "SELECT log_offset, key, value, crc FROM log_N WHERE log_offset >= ? AND log_offset < ? ORDER BY log_offset",
        partition_id,
    )
    for offset, key, value, crc in connection.execute(statement, (start, end)):
        absent += range(expected, offset)
        expected = offset + 1
        if crc is None:
            unproven.append(offset)
        elif not _is_binary(key) or not _is_binary(value) or crc != checksum(key, value):
            damaged.append(offset)
    absent += range(expected, end)
    return absent, damaged, unproven


def restore(connection: sqlite3.Connection, partition_id: int, offset: int, key: bytes, value: bytes) -> None:
    """Write one message at its offset. What lay there is kept in `replaced_messages`; its append time stays.

    A message that is gone gets the append time of the one before it, else after it: times never fall.
    """
    connection.execute(_KEPT)
    connection.execute(
        _on(
            "INSERT INTO replaced_messages SELECT ?, log_offset, appended_ms, key, value FROM log_N"
            " WHERE log_offset = ?",
            partition_id,
        ),
        (partition_id, offset),
    )
    near = "SELECT appended_ms FROM log_N WHERE log_offset {} ? ORDER BY log_offset {} LIMIT 1"
    found = None
    for compared, order in (("<=", "DESC"), (">", "ASC")):
        found = found or connection.execute(_on(near.format(compared, order), partition_id), (offset,)).fetchone()
    connection.execute(
        _on("INSERT OR REPLACE INTO log_N VALUES (?, ?, ?, ?, ?)", partition_id),
        (offset, found[0] if found else 0, key, value, checksum(key, value)),
    )


def _is_binary(value: object) -> bool:
    return value is None or isinstance(value, bytes)


def bounds(connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Per partition id: first readable offset, and the offset the next message gets."""
    found = {}
    for partition_id in partition_ids:
        row = connection.execute("SELECT low, next_offset FROM partitions WHERE id = ?", (partition_id,)).fetchone()
        found[partition_id] = (row[0], row[1])
    return found


def select(
    connection: sqlite3.Connection,
    partition_id: int,
    place: TopicPartition,
    start: int,
    end: int,
    *,
    max_messages: int,
    max_bytes: int,
) -> tuple[Messages, int, int]:
    """Read `start <= offset < end` up to about the given limits, at least one message.

    Returns:
        The messages, the position after them (`end` when nothing is left before it), and their bytes.
    """
    cursor = connection.execute(
        _on(
            "SELECT log_offset, appended_ms, CAST(key AS BLOB), CAST(value AS BLOB) FROM log_N"
            " WHERE log_offset >= ? AND log_offset < ? ORDER BY log_offset LIMIT ?",
            partition_id,
        ),
        (start, end, max_messages),
    )
    rows: list[tuple[int, int, bytes | None, bytes | None]] = []
    size = 0
    is_whole = False
    while size < max_bytes:
        some = cursor.fetchmany(_FETCH_ROWS)
        rows += some
        size += sum(len(row[3]) for row in some if row[3] is not None)
        if len(some) < _FETCH_ROWS:
            is_whole = len(rows) < max_messages
            break
    cursor.close()
    if not rows:
        return Messages(place.topic, place.partition, (), (), (), ()), end, 0
    offsets, times, keys, values = zip(*rows, strict=True)
    return (
        Messages(place.topic, place.partition, offsets, times, keys, values),
        end if is_whole else offsets[-1] + 1,
        size,
    )


def offset_at(connection: sqlite3.Connection, partition_id: int, timestamp_ms: int, bounds: tuple[int, int]) -> int:
    """Find the first offset appended at or after a time, by bisection: append times never fall."""
    statement = _on(
        "SELECT log_offset, appended_ms FROM log_N WHERE log_offset >= ? AND log_offset < ?"
        " ORDER BY log_offset LIMIT 1",
        partition_id,
    )
    low, high = bounds
    end = high
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(statement, (middle, end)).fetchone()
        if row is None or row[1] >= timestamp_ms:
            high = middle
        else:
            low = row[0] + 1
    row = connection.execute(statement, (low, end)).fetchone()
    return end if row is None else int(row[0])


def remove_before(connection: sqlite3.Connection, partition_id: int, offset: int, limit: int) -> int:
    """Remove the oldest messages below `offset`, at most `limit`, and move the low watermark; returns how many."""
    edge = connection.execute(
        _on("SELECT log_offset FROM log_N WHERE log_offset < ? ORDER BY log_offset LIMIT 1 OFFSET ?", partition_id),
        (offset, limit),
    ).fetchone()
    stop = offset if edge is None else int(edge[0])
    removed = connection.execute(_on("DELETE FROM log_N WHERE log_offset < ?", partition_id), (stop,)).rowcount
    connection.execute("UPDATE partitions SET low = max(low, ?) WHERE id = ?", (stop, partition_id))
    return removed


def superseded(connection: sqlite3.Connection, partition_id: int, high: int, tombstones_before_ms: int) -> list[int]:
    """Return offsets below `high` that compaction removes: all but a key's last message, and old tombstones.

    Messages without a key are never removed.
    """
    rows = connection.execute(
        _on(
            "SELECT log_offset FROM log_N AS entry JOIN"
            " (SELECT key AS last_key, max(log_offset) AS last_offset FROM log_N"
            "  WHERE key IS NOT NULL AND log_offset < ? GROUP BY key) ON key = last_key"
            " WHERE log_offset < last_offset OR (log_offset = last_offset AND value IS NULL AND appended_ms < ?)"
            " ORDER BY log_offset",
            partition_id,
        ),
        (high, tombstones_before_ms),
    )
    return [row[0] for row in rows]


def remove(connection: sqlite3.Connection, partition_id: int, offsets: Sequence[int]) -> int:
    return connection.executemany(
        _on("DELETE FROM log_N WHERE log_offset = ?", partition_id), [(offset,) for offset in offsets]
    ).rowcount
