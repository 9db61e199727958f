"""The embedded event log: one SQLite file that several processes of one machine append to and read at once.

Belongs here: `base.EventLog` on that file. Does not belong here: the statements (`sqlite_messages`,
`sqlite_groups`) and the file itself (`sqlite_db`). Not for network file systems: it needs shared memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from resources.event_log import sqlite_groups as groups
from resources.event_log import sqlite_messages as messages
from resources.event_log.base import (
    Appended,
    Commit,
    Condition,
    EventLogError,
    Messages,
    OffsetRange,
    TopicPartition,
    TopicSpec,
)
from resources.event_log.limits import DEFAULT_MAX_MESSAGE_BYTES, check_batch
from resources.event_log.partitioner import null_count, partitions_of
from resources.event_log.sqlite_append import Appender
from resources.event_log.sqlite_consumer import SqliteConsumer
from resources.event_log.sqlite_db import Database
from resources.event_log.sqlite_topics import Topics
from resources.event_log.sqlite_watch import Watch

_MAX_CHUNK_BYTES = 64 * 1024 * 1024
_REMOVE_AT_ONCE = 10_000  # rows per transaction of `maintain`: other writers wait tens of milliseconds at most


class SqliteEventLog:
    """See `base.EventLog`. Thread-safe.

    Args:
        url: `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`; file and folder are made when missing.
        session_timeout: Seconds without a heartbeat after which a consumer's partitions go to others.
        max_poll_interval: Seconds between two polls after which a consumer's heartbeats stop.
        max_message_bytes: Limit of key plus value of one message.
        busy_timeout: Seconds to wait for other processes' writes.
        max_bytes: Size the file may grow to; None for as large as the disk.
        tombstone_ms: How long compaction keeps a key's tombstone, so that readers can see it.

    Raises:
        EventLogError: the file is not an event log, is damaged, or cannot be written.
        LogUnavailableError: the file cannot be opened, the disk is full, or others kept it locked.
    """

    def __init__(
        self,
        url: str,
        *,
        session_timeout: float = 3.0,
        max_poll_interval: float = 300.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        busy_timeout: float = 10.0,
        max_bytes: int | None = None,
        tombstone_ms: int = 24 * 3600 * 1000,
    ) -> None:
        path = url.removeprefix("sqlite:///")
        if path == url or not path:
            raise EventLogError(f"event log URL {url!r}: expected sqlite:///path/to/file.db")
        self.url = url
        self._session_timeout = session_timeout
        self._max_poll_interval = max_poll_interval
        self._max_message_bytes = max_message_bytes
        self._tombstone_ms = tombstone_ms
        self._database = Database(Path(path), url, busy_timeout=busy_timeout, max_bytes=max_bytes)
        self._topics = Topics(self._database)
        self._appender = Appender(self._database)
        self._round_robin_lock = threading.Lock()
        self._next_null = 0

    def __repr__(self) -> str:
        return f"SqliteEventLog({self.url!r})"

    # -- topics ------------------------------------------------------------------------------------------------------

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `base.EventLog`. Retention and compaction of existing topics are brought to what is stated."""
        self._topics.create(specs)

    def partitions(self, topic: str) -> int:
        return len(self._topics.ids(topic))

    # -- messages ----------------------------------------------------------------------------------------------------

    def append(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Appended:
        ids = self._topics.ids(topic)
        check_batch(self.url, topic, keys, values, self._max_message_bytes)
        if not values:
            return Appended(topic, (), ())
        partitions = partitions_of(keys, len(ids), self._take_nulls(null_count(keys)))
        members: dict[int, list[int]] = {}
        for position, partition in enumerate(partitions):
            members.setdefault(ids[partition], []).append(position)
        return Appended(topic, partitions, self._appender.append(keys, values, members))

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        ids = self._topics.ids(topic)
        with self._database.reading() as connection:
            found = messages.bounds(connection, ids)
        return {partition: found[partition_id] for partition, partition_id in enumerate(ids)}

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        """See `base.EventLog`. For a time that has come the answer is final: later appends get later offsets.

        Where no message is that young yet, the log notes the time and dates no further message before it, even if the
        clock is set back.
        """
        ids = self._topics.ids(topic)
        with self._database.reading() as connection:
            lasts = {key: connection.execute("SELECT last_ms FROM partitions WHERE id = ?", (key,)) for key in ids}
            open_ids = [key for key, cursor in lasts.items() if cursor.fetchone()[0] < timestamp_ms]
        if open_ids:
            with self._database.writing("offsets at a time") as connection:
                # Having the write lock means that no append with an earlier time is under way.
                if timestamp_ms <= time.time_ns() // 1_000_000:
                    connection.executemany(
                        "UPDATE partitions SET last_ms = max(last_ms, ?) WHERE id = ?",
                        [(timestamp_ms, key) for key in open_ids],
                    )
        with self._database.reading() as connection:
            found = messages.bounds(connection, ids)
            return {
                partition: messages.offset_at(connection, key, timestamp_ms, found[key])
                for partition, key in enumerate(ids)
            }

    def read(self, ranges: Sequence[OffsetRange], max_messages: int = 50_000) -> Iterator[Messages]:
        """See `base.EventLog`. Raises EventLogError when part of a range is not in the log (any more, or yet)."""
        for topic, partition, start, end in ranges:
            place = TopicPartition(topic, partition)
            key = self._topics.id_of(place)
            position = start
            while position < end:
                with self._database.reading() as connection:
                    low, high = messages.bounds(connection, [key])[key]
                    if position < low or end > high:
                        raise EventLogError(
                            f"{self.url}: read {topic}/{partition} from {position} to {end}: "
                            f"the log holds {low} to {high}"
                        )
                    chunk, position, _ = messages.select(
                        connection, key, place, position, end, max_messages=max_messages, max_bytes=_MAX_CHUNK_BYTES
                    )
                if len(chunk):
                    yield chunk

    def wait_for(self, positions: Mapping[TopicPartition, int], timeout: float) -> bool:
        wanted = {self._topics.id_of(place): offset for place, offset in positions.items()}
        deadline = time.monotonic() + timeout
        watch = Watch(self._database)
        try:
            while True:
                watch.mark()
                with self._database.reading() as connection:
                    found = messages.bounds(connection, wanted)
                if any(found[key][1] > offset for key, offset in wanted.items()):
                    return True
                if time.monotonic() >= deadline:
                    return False
                watch.wait(deadline)
        finally:
            watch.close()

    # -- groups ------------------------------------------------------------------------------------------------------

    def consumer(
        self,
        group: str,
        topics: Sequence[str],
        *,
        member_id: str | None = None,
        on_assign: Callable[[set[TopicPartition]], None] | None = None,
        on_revoke: Callable[[set[TopicPartition]], None] | None = None,
    ) -> SqliteConsumer:
        """See `base.EventLog`. A second process with the same `member_id` takes over at once; the first is fenced."""
        return SqliteConsumer(
            self._database,
            self._topics,
            group,
            topics,
            member_id=member_id,
            on_assign=on_assign,
            on_revoke=on_revoke,
            session_timeout=self._session_timeout,
            max_poll_interval=self._max_poll_interval,
            max_poll_bytes=_MAX_CHUNK_BYTES,
        )

    def group_commits(self, group: str) -> dict[TopicPartition, Commit]:
        with self._database.reading() as connection:
            commits = groups.read_commits(connection, group)
        return {self._topics.name_of(key): commit for key, commit in commits.items()}

    # -- care --------------------------------------------------------------------------------------------------------

    def maintain(self, now_ms: int) -> int:
        """Remove what is past retention or superseded in compacted topics; returns messages removed.

        Works in small transactions, so that appends go on, and may be stopped anywhere.
        """
        with self._database.reading() as connection:
            specs = connection.execute("SELECT name, retention_ms, compacted FROM topics").fetchall()
        removed = 0
        for name, retention_ms, is_compacted in specs:
            for key in self._topics.ids(name):
                if retention_ms is not None:
                    removed += self._expire(key, now_ms - retention_ms)
                if is_compacted:
                    removed += self._compact(key, now_ms - self._tombstone_ms)
        return removed

    def inspect(self, ranges: Sequence[OffsetRange]) -> Condition:
        """See `base.MendableLog`."""
        found: tuple[list[tuple[str, int, int]], ...] = ([], [], [])
        for topic, partition, start, end in ranges:
            key = self._topics.id_of(TopicPartition(topic, partition))
            for first in range(start, end, _REMOVE_AT_ONCE):  # a long read would keep the file's journal from shrinking
                with self._database.reading() as connection:
                    low, high = messages.bounds(connection, [key])[key]
                    last = min(first + _REMOVE_AT_ONCE, end, high)
                    some = messages.inspect(connection, key, max(first, low), last)
                for kind, offsets in zip(found, some, strict=True):
                    kind += [(topic, partition, offset) for offset in offsets]
        return Condition(*map(frozenset, found))

    def restore(
        self, place: TopicPartition, offsets: Sequence[int], keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        """See `base.MendableLog`. What lay there is kept in the table `replaced_messages`."""
        key = self._topics.id_of(place)
        with self._database.writing("restoring messages") as connection:
            low, high = messages.bounds(connection, [key])[key]
            for offset, message_key, value in zip(offsets, keys, values, strict=True):
                if not low <= offset < high:
                    raise EventLogError(
                        f"{self.url}: restore {place.topic}/{place.partition}@{offset}: the log holds {low} to {high}"
                    )
                messages.restore(connection, key, offset, message_key, value)

    def ping(self) -> None:
        with self._database.reading() as connection:
            connection.execute("SELECT count(*) FROM topics").fetchone()

    def close(self) -> None:
        self._database.close()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _take_nulls(self, count: int) -> int:
        with self._round_robin_lock:
            first, self._next_null = self._next_null, self._next_null + count
        return first

    def _expire(self, key: int, before_ms: int) -> int:
        with self._database.reading() as connection:
            cut = messages.offset_at(connection, key, before_ms, messages.bounds(connection, [key])[key])
        total = 0
        while True:
            with self._database.writing("retention") as connection:
                removed = messages.remove_before(connection, key, cut, _REMOVE_AT_ONCE)
            total += removed
            if removed < _REMOVE_AT_ONCE:
                return total

    def _compact(self, key: int, tombstones_before_ms: int) -> int:
        with self._database.reading() as connection:
            high = messages.bounds(connection, [key])[key][1]
            offsets = messages.superseded(connection, key, high, tombstones_before_ms)
        total = 0
        for start in range(0, len(offsets), _REMOVE_AT_ONCE):
            with self._database.writing("compaction") as connection:
                total += messages.remove(connection, key, offsets[start : start + _REMOVE_AT_ONCE])
        return total
