"""A consumer group's member on Kafka.

Belongs here: polling, commits, fencing, rebalancing. Does not belong here: reading without a group.

Kafka checks that a commit comes from a current member, not that this member owns the partition; the second half is done
here, from the assignment as of the last `poll`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from resources.event_log.base import Commit, EventLogError, FencedError, Messages, TopicPartition
from resources.event_log.kafka_config import ErrorLog, KafkaTarget, explain
from resources.event_log.kafka_read import by_partition, columns, take
from resources.event_log.limits import check_commits

_log = logging.getLogger(__name__)

Rebalanced = Callable[[set[TopicPartition]], None]

_FENCED = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._FENCED,
        KafkaError._ASSIGNMENT_LOST,
    }
)
_OUT_OF_RANGE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


class KafkaConsumer:
    """See `base.Consumer`."""

    def __init__(
        self,
        target: KafkaTarget,
        group: str,
        topics: Sequence[str],
        *,
        member_id: str | None,
        on_assign: Rebalanced | None,
        on_revoke: Rebalanced | None,
        session_timeout: float,
        max_poll_interval: float,
        timeout: float,
    ) -> None:
        if not topics:
            raise ValueError(f"{target.url}: consumer of group {group!r} names no topic")
        self._url = target.url
        self._group = group
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._session_timeout = session_timeout
        self._timeout = timeout
        self._owned: set[TopicPartition] = set()
        self._starts: dict[TopicPartition, int] | None = None  # while partitions are being taken over
        self._generation_member: str | None = None
        self._uncommitted: set[TopicPartition] = set()  # ours, but their commit was refused
        self._is_closed = False
        properties: dict[str, object] = {
            **target.properties,
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(session_timeout * 1000),
            "heartbeat.interval.ms": max(100, min(500, int(session_timeout * 250))),  # also how rebalances are heard of
            "max.poll.interval.ms": max(int(max_poll_interval * 1000), int(session_timeout * 1000)),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # what retention took before it was read is said, not skipped
            "allow.auto.create.topics": False,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 64 * 1024,
            "error_cb": ErrorLog(_log, f"{target.url}: group {group}"),
            "logger": _log,
        }
        if member_id is not None:
            properties["group.instance.id"] = member_id
        try:
            self._consumer = Consumer(properties)
            self._consumer.subscribe(
                list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
        except KafkaException as error:
            raise explain(self._url, f"join group {group!r}", error) from error

    # -- the interface -----------------------------------------------------------------------------------------------

    def poll(self, max_messages: int, timeout: float) -> list[Messages]:
        self._check_open()
        if self._uncommitted:
            self._rewind()
        try:
            found = take(self._consumer, max_messages, timeout)
        except KafkaException as error:
            raise self._translated("poll", error) from error
        chunks = []
        for place, rows in by_partition(found).items():
            good = [row for row in rows if row.error() is None]
            for row in rows:
                if row.error() is not None:
                    self._handle(place, row)
            if good and place in self._owned:
                chunks.append(columns(place, good))
        return chunks

    def assignment(self) -> set[TopicPartition]:
        return set(self._owned)

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Commit]:
        self._check_open()
        if not partitions:
            return {}
        try:
            found = self._consumer.committed([ck.TopicPartition(*place) for place in partitions], timeout=self._timeout)
        except KafkaException as error:
            raise self._translated("read commits", error) from error
        commits = {}
        for item in found:
            if item.error is not None:
                raise explain(
                    self._url, f"commit of group {self._group!r} for {item.topic}/{item.partition}", item.error
                )
            if item.offset >= 0:
                commits[TopicPartition(item.topic, item.partition)] = Commit(item.offset, item.metadata or "")
        return commits

    def commit(self, commits: Mapping[TopicPartition, Commit]) -> None:
        self._check_open()
        check_commits(self._url, self._group, commits)
        if not commits:
            return
        lost = commits.keys() - self._owned
        if lost:
            self._uncommitted |= commits.keys()
            raise FencedError(self._fenced_text(", ".join(f"{topic}/{partition}" for topic, partition in sorted(lost))))
        if self._consumer.memberid() != self._generation_member:
            self._uncommitted |= commits.keys()
            raise FencedError(self._fenced_text("any partition"))
        offsets = [
            ck.TopicPartition(place.topic, place.partition, commit.offset, commit.metadata)
            for place, commit in commits.items()
        ]
        deadline = time.monotonic() + self._session_timeout
        while True:
            error = self._try_commit(offsets)
            if error is None:
                self._uncommitted -= commits.keys()
                return
            # Members are joining. What is ours stays ours until our own `poll` gives it back, so the same commit is
            # right in the next generation, which librdkafka enters by itself.
            if error.code() != KafkaError.REBALANCE_IN_PROGRESS or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        if error.code() in _FENCED or error.code() == KafkaError.REBALANCE_IN_PROGRESS:
            self._uncommitted |= commits.keys()
            if error.code() in _FENCED:
                self._generation_member = None  # until partitions are assigned anew
            raise FencedError(f"{self._fenced_text('its partitions')} ({error.str()})")
        raise explain(self._url, f"commit of group {self._group!r}", error)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._check_open()
        if self._starts is not None and partition in self._starts:
            self._starts[partition] = offset
            return
        if partition not in self._owned:
            raise EventLogError(
                f"{self._url}: seek in group {self._group!r}: {partition.topic}/{partition.partition} is not assigned"
            )
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._consumer.seek(ck.TopicPartition(*partition, offset))
                return
            except KafkaException as error:
                # A partition that has just been taken over is not being fetched yet.
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise self._translated("seek", error) from error
            time.sleep(0.005)

    def close(self) -> None:
        if self._is_closed:
            return
        try:
            self._consumer.close()  # calls `on_revoke`, which may still commit
        finally:
            self._is_closed = True

    # -- rebalancing: called by librdkafka inside `poll` and `close` ------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[ck.TopicPartition]) -> None:
        places = [TopicPartition(item.topic, item.partition) for item in partitions]
        self._generation_member = consumer.memberid()
        if not places:
            return
        commits = self.committed(places)
        self._starts = {place: commits[place].offset if place in commits else ck.OFFSET_BEGINNING for place in places}
        self._owned |= self._starts.keys()
        self._uncommitted -= self._starts.keys()
        try:
            if self._on_assign:
                self._on_assign(set(places))
        finally:
            starts, self._starts = self._starts, None
            consumer.incremental_assign([ck.TopicPartition(*place, offset) for place, offset in starts.items()])

    def _rewind(self) -> None:
        """Let `poll` deliver again what was polled but could not be committed."""
        again = sorted(self._uncommitted & self._owned)
        commits = self.committed(again)
        for place in again:
            self.seek(place, commits[place].offset if place in commits else ck.OFFSET_BEGINNING)
        self._uncommitted.clear()

    def _revoked(self, consumer: Consumer, partitions: list[ck.TopicPartition]) -> None:
        places = {TopicPartition(item.topic, item.partition) for item in partitions} & self._owned
        try:
            if self._on_revoke and places:
                self._on_revoke(places)
        finally:
            self._owned -= places
            consumer.incremental_unassign(partitions)

    # -- errors ------------------------------------------------------------------------------------------------------

    def _try_commit(self, offsets: list[ck.TopicPartition]) -> KafkaError | None:
        try:
            done = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            return cause
        return next((item.error for item in done or [] if item.error is not None), None)

    def _handle(self, place: TopicPartition, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() in _OUT_OF_RANGE and place in self._owned:
            low, _ = self._consumer.get_watermark_offsets(ck.TopicPartition(*place), timeout=self._timeout)
            _log.warning(
                "%s: group %s: retention removed %s/%d up to offset %d before it was read",
                self._url, self._group, place.topic, place.partition, low,
            )  # fmt: skip
            self._consumer.incremental_unassign([ck.TopicPartition(*place)])
            self._consumer.incremental_assign([ck.TopicPartition(*place, low)])
            return
        translated = self._translated(f"poll {place.topic}/{place.partition}", KafkaException(error))
        if type(translated) is EventLogError or isinstance(translated, FencedError):
            raise translated
        _log.warning("%s", translated)  # librdkafka goes on trying

    def _translated(self, doing: str, error: KafkaException) -> EventLogError:
        cause: KafkaError = error.args[0]
        # After a fatal error (another member joined under our name) this client never gets another message: join anew.
        if cause.code() in _FENCED or cause.fatal() or cause.code() == KafkaError._FATAL:
            return FencedError(f"{self._fenced_text('its partitions')} ({cause.str()})")
        return explain(self._url, f"{doing} in group {self._group!r}", error)

    def _fenced_text(self, what: str) -> str:
        return f"{self._url}: group {self._group!r}: this member no longer owns {what}"

    def _check_open(self) -> None:
        if self._is_closed:
            raise EventLogError(f"{self._url}: the consumer of group {self._group!r} is closed")
