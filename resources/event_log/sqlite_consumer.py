"""A consumer group's member on the embedded log.

Belongs here: polling, heartbeats, taking and giving back partitions. Does not belong here: the statements behind it
(`sqlite_groups`, `sqlite_messages`).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from resources.event_log import sqlite_groups as groups
from resources.event_log import sqlite_messages as messages
from resources.event_log.base import (
    Commit,
    EventLogError,
    FencedError,
    LogUnavailableError,
    Messages,
    TopicPartition,
)
from resources.event_log.limits import check_commits
from resources.event_log.sqlite_db import Database, monotonic_ms
from resources.event_log.sqlite_topics import Topics
from resources.event_log.sqlite_watch import Watch

_log = logging.getLogger(__name__)

Rebalanced = Callable[[set[TopicPartition]], None]


class SqliteConsumer:
    """See `base.Consumer`. A thread of its own sends heartbeats, so that long work between polls loses nothing."""

    def __init__(
        self,
        database: Database,
        topics: Topics,
        group: str,
        names: Sequence[str],
        *,
        member_id: str | None,
        on_assign: Rebalanced | None,
        on_revoke: Rebalanced | None,
        session_timeout: float,
        max_poll_interval: float,
        max_poll_bytes: int,
    ) -> None:
        if not names:
            raise ValueError(f"{database.url}: consumer of group {group!r} names no topic")
        for name in names:
            topics.ids(name)
        self._database = database
        self._topics = topics
        self._group = group
        self._names = tuple(names)
        self._member = member_id or f"member-{uuid.uuid4()}"
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._session_timeout_ms = int(session_timeout * 1000)
        self._max_poll_interval = max_poll_interval
        self._max_poll_bytes = max_poll_bytes
        self._positions: dict[int, int] = {}
        self._uncommitted: set[int] = set()  # still ours, but their commit was refused together with a lost one's
        self._turn = 0
        self._next_expiry_check = 0.0
        self._last_poll = time.monotonic()
        self._is_closed = False
        self._watch = Watch(database)
        self._session = self._join()
        self._stopping = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"heartbeat-{group}", daemon=True)
        self._heart.start()

    # -- the interface -----------------------------------------------------------------------------------------------

    def poll(self, max_messages: int, timeout: float) -> list[Messages]:
        self._check_open()
        deadline = time.monotonic() + timeout
        while True:
            self._last_poll = time.monotonic()
            self._watch.mark()
            self._sync()
            found = self._fetch(max_messages)
            now = time.monotonic()
            if found:
                self._watch.news()
            if found or now >= deadline:
                return found
            self._watch.wait(min(deadline, max(self._next_expiry_check, now + 0.001)))

    def assignment(self) -> set[TopicPartition]:
        return self._named(self._positions)

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Commit]:
        self._check_open()
        with self._database.reading() as connection:
            commits = groups.read_commits(connection, self._group)
        wanted = {self._topics.id_of(partition): partition for partition in partitions}
        return {wanted[key]: commit for key, commit in commits.items() if key in wanted}

    def commit(self, commits: Mapping[TopicPartition, Commit]) -> None:
        self._check_open()
        check_commits(self._database.url, self._group, commits)
        by_id = {self._topics.id_of(partition): commit for partition, commit in commits.items()}
        if not by_id:
            return
        with self._database.writing(f"commit of group {self._group!r}") as connection:
            lost = groups.not_owned(connection, self._group, self._session, by_id)
            if lost:
                self._uncommitted |= by_id.keys() - lost
                names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(self._named(lost)))
                raise FencedError(
                    f"{self._database.url}: commit of group {self._group!r}: "
                    f"member {self._member!r} no longer owns {names}"
                )
            groups.write_commits(connection, self._group, by_id)
        self._uncommitted -= by_id.keys()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        partition_id = self._topics.id_of(partition)
        if partition_id not in self._positions:
            raise EventLogError(
                f"{self._database.url}: seek in group {self._group!r}: "
                f"{partition.topic}/{partition.partition} is not assigned to member {self._member!r}"
            )
        self._positions[partition_id] = offset

    def close(self) -> None:
        if self._is_closed:
            return
        try:
            if self._positions:
                self._revoked(set(self._positions))
        finally:
            self._is_closed = True
            self._stopping.set()
            self._heart.join()
            self._watch.close()
            with self._database.writing(f"leave group {self._group!r}") as connection:
                groups.leave(connection, self._group, self._session)

    # -- membership --------------------------------------------------------------------------------------------------

    def _join(self) -> str:
        session = str(uuid.uuid4())
        with self._database.writing(f"join group {self._group!r}") as connection:
            groups.expire(connection, self._group, monotonic_ms(), self._session_timeout_ms)
            groups.join(connection, self._group, self._member, session, topics=self._names, now=monotonic_ms())
        return session

    def _sync(self) -> None:
        """Follow the group: give back, take over, remove the dead, come back after having been removed."""
        with self._database.reading() as connection:
            mine = groups.membership(connection, self._group, self._member, self._session)
            has_stale = False
            if time.monotonic() >= self._next_expiry_check:
                self._next_expiry_check = time.monotonic() + self._session_timeout_ms / 6000
                has_stale = groups.has_stale(connection, self._group, monotonic_ms(), self._session_timeout_ms)
        lost = set(self._positions) - mine.owned
        if lost:
            self._revoked(lost)
        if self._uncommitted:
            self._rewind()
        if mine.session is None:
            _log.warning(
                "%s: group %s: member %s was removed, joining again", self._database.url, self._group, self._member
            )
            self._session = self._join()
            return
        if mine.session != self._session:
            raise FencedError(
                f"{self._database.url}: group {self._group!r}: another process has joined as member {self._member!r}"
            )
        if mine.to_revoke:
            self._revoked(set(mine.to_revoke & self._positions.keys()))
        if has_stale or mine.to_revoke or mine.to_acquire:
            self._settle(mine.to_revoke)

    def _settle(self, released: frozenset[int]) -> None:
        with self._database.writing(f"rebalance group {self._group!r}") as connection:
            groups.release(connection, self._group, self._session, released)
            gone = groups.expire(connection, self._group, monotonic_ms(), self._session_timeout_ms)
            acquired = groups.acquire(connection, self._group, self._member, self._session)
            commits = groups.read_commits(connection, self._group)
            bounds = messages.bounds(connection, acquired)
        for member in gone:
            _log.warning("%s: group %s: member %s sent no heartbeat, removed", self._database.url, self._group, member)
        if acquired:
            for partition_id in acquired:
                commit = commits.get(partition_id)
                self._positions[partition_id] = commit.offset if commit else bounds[partition_id][0]
            if self._on_assign:
                self._on_assign(self._named(acquired))

    def _rewind(self) -> None:
        again, self._uncommitted = self._uncommitted & self._positions.keys(), set()
        with self._database.reading() as connection:
            commits = groups.read_commits(connection, self._group)
            bounds = messages.bounds(connection, again)
        for partition_id in again:
            commit = commits.get(partition_id)
            self._positions[partition_id] = commit.offset if commit else bounds[partition_id][0]

    def _revoked(self, partition_ids: set[int]) -> None:
        try:
            if self._on_revoke and partition_ids:
                self._on_revoke(self._named(partition_ids))
        finally:
            for partition_id in partition_ids:
                del self._positions[partition_id]

    def _beat(self) -> None:
        while not self._stopping.wait(self._session_timeout_ms / 4000):
            if time.monotonic() - self._last_poll > self._max_poll_interval:
                continue  # the owner hangs; let another member take over
            try:
                with self._database.writing(f"heartbeat of group {self._group!r}") as connection:
                    groups.heartbeat(connection, self._group, self._session, monotonic_ms())
            except LogUnavailableError as error:
                _log.warning("heartbeat failed: %s", error)
            except EventLogError as error:
                _log.error("heartbeats of group %s end: %s", self._group, error)
                return

    # -- messages ----------------------------------------------------------------------------------------------------

    def _fetch(self, max_messages: int) -> list[Messages]:
        """Read from each partition in turn; another one begins every time, so that none waits for ever."""
        order = sorted(self._positions)
        if not order:
            return []
        self._turn = (self._turn + 1) % len(order)
        found: list[Messages] = []
        room, bytes_left = max_messages, self._max_poll_bytes
        with self._database.reading() as connection:
            bounds = messages.bounds(connection, order)
            for partition_id in order[self._turn :] + order[: self._turn]:
                low, high = bounds[partition_id]
                position = self._positions[partition_id]
                if position < low:
                    _log.warning(
                        "%s: group %s: retention removed %s offsets %d to %d before they were read",
                        self._database.url, self._group, self._topics.name_of(partition_id), position, low,
                    )  # fmt: skip
                    position = low
                if position >= high or room <= 0 or bytes_left <= 0:
                    continue
                place = self._topics.name_of(partition_id)
                chunk, position, size = messages.select(
                    connection, partition_id, place, position, high, max_messages=room, max_bytes=bytes_left
                )
                self._positions[partition_id] = position
                if len(chunk):
                    found.append(chunk)
                room -= len(chunk)
                bytes_left -= size
        return found

    def _named(self, partition_ids: Mapping[int, int] | set[int] | frozenset[int]) -> set[TopicPartition]:
        return {self._topics.name_of(partition_id) for partition_id in partition_ids}

    def _check_open(self) -> None:
        if self._is_closed:
            raise EventLogError(f"{self._database.url}: the consumer of group {self._group!r} is closed")
