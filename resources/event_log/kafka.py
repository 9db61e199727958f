"""The event log on Kafka.

Belongs here: `base.EventLog` through confluent-kafka. Does not belong here: the clients behind it (`kafka_append`,
`kafka_read`, `kafka_consumer`) and configuration (`kafka_config`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

import confluent_kafka as ck
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import OffsetSpec as _OffsetSpec  # type: ignore[attr-defined] # not in its __all__
from confluent_kafka.cimpl import NewTopic

from resources.event_log.base import (
    Appended,
    Commit,
    EventLogError,
    LogUnavailableError,
    Messages,
    OffsetRange,
    TopicPartition,
    TopicSpec,
)
from resources.event_log.kafka_append import KafkaAppender
from resources.event_log.kafka_config import explain, parse_url
from resources.event_log.kafka_consumer import KafkaConsumer
from resources.event_log.kafka_read import KafkaReader
from resources.event_log.limits import DEFAULT_MAX_MESSAGE_BYTES, check_batch
from resources.event_log.partitioner import null_count, partitions_of

_PARTITIONS_KNOWN_FOR = 60.0  # seconds; the number only ever grows, and rarely

# Answers while a partition's leader is being chosen, or while a broker has not heard of a new topic yet.
_LEADER_MOVES = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError._NOENT,  # librdkafka's own: the metadata name no leader, as while a broker starts
)

T = TypeVar("T")

_EARLIEST = _OffsetSpec.earliest()  # type: ignore[no-untyped-call] # the library leaves it untyped
_LATEST = _OffsetSpec.latest()  # type: ignore[no-untyped-call] # the library leaves it untyped


class KafkaEventLog:
    """See `base.EventLog`. Thread-safe. Connects when it is first used.

    Args:
        url: `kafka://host:port[,host:port]?security.protocol=SASL_SSL&sasl.username=…`; the password comes from the
            environment variable TALLY_KAFKA_PASSWORD.
        session_timeout: Seconds without a heartbeat after which a consumer's partitions go to others; brokers refuse
            less than their `group.min.session.timeout.ms` (6 s unless set).
        max_poll_interval: Seconds between two polls after which a consumer is put out of its group.
        max_message_bytes: Limit of key plus value of one message; topics are made to match.
        timeout: Seconds to wait for the brokers before LogUnavailableError.
        linger_ms: How long a batch waits for company.
        compression: `lz4`, `zstd`, `snappy`, `gzip` or `none`.
    """

    def __init__(
        self,
        url: str,
        *,
        session_timeout: float = 6.0,
        max_poll_interval: float = 300.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        timeout: float = 10.0,
        linger_ms: float = 5.0,
        compression: str = "lz4",
    ) -> None:
        self._target = parse_url(url)
        self.url = self._target.url
        self._session_timeout = session_timeout
        self._max_poll_interval = max_poll_interval
        self._max_message_bytes = max_message_bytes
        self._timeout = timeout
        try:
            self._admin = AdminClient(dict(self._target.properties))
        except KafkaException as error:
            raise explain(self.url, "configure", error) from error
        self._reader = KafkaReader(self._target, timeout=timeout, max_message_bytes=max_message_bytes)
        self._appender = KafkaAppender(
            self._target,
            linger_ms=linger_ms,
            compression=compression,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
        )
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}
        self._next_null = 0

    def __repr__(self) -> str:
        return f"KafkaEventLog({self.url!r})"

    # -- topics ------------------------------------------------------------------------------------------------------

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `base.EventLog`. Settings of existing topics are left to whoever administers the cluster."""
        existing = self._partition_counts()
        missing = [spec for spec in specs if spec.name not in existing]
        if missing:
            made = self._admin.create_topics([self._new_topic(spec) for spec in missing], request_timeout=self._timeout)
            for name, future in made.items():
                try:
                    self._wait(f"create topic {name!r}", future)
                except EventLogError as error:
                    if not _is_code(error, KafkaError.TOPIC_ALREADY_EXISTS):
                        raise
            existing = self._await_topics({spec.name for spec in specs})
            for spec in missing:
                # Metadata may name a leader that has not taken office yet; only leaders answer for offsets. A producer
                # whose first batch meets such a leader is refused, and its second, under way already, may be taken.
                self._offsets(spec.name, _EARLIEST)
        for spec in specs:
            if existing[spec.name] != spec.partitions:
                raise EventLogError(
                    f"{self.url}: topic {spec.name!r} has {existing[spec.name]} partitions, "
                    f"{spec.partitions} are stated"
                )

    def partitions(self, topic: str) -> int:
        count, known_at = self._counts.get(topic, (0, 0.0))
        if count and time.monotonic() - known_at < _PARTITIONS_KNOWN_FOR:
            return count
        found = self._reader.metadata(topic).topics[topic]
        if found.error is not None:
            if found.error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
                raise EventLogError(f"{self.url}: unknown topic {topic!r}")
            raise explain(self.url, f"topic {topic!r}", found.error)
        self._counts[topic] = (len(found.partitions), time.monotonic())
        return len(found.partitions)

    # -- messages ----------------------------------------------------------------------------------------------------

    def append(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Appended:
        check_batch(self.url, topic, keys, values, self._max_message_bytes)
        count = self.partitions(topic)
        if not values:
            return Appended(topic, (), ())
        nulls = null_count(keys)
        with self._lock:
            first_null, self._next_null = self._next_null, self._next_null + nulls
        partitions = partitions_of(keys, count, first_null)
        return Appended(topic, partitions, self._appender.append(topic, keys, values, partitions))

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        lows = self._offsets(topic, _EARLIEST)
        highs = self._offsets(topic, _LATEST)
        return {partition: (low, highs[partition]) for partition, low in lows.items()}

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        """See `base.EventLog`. Final for a time that has come, by the brokers' clocks (log append time).

        Messages that are not replicated yet are not seen: ask for a time some seconds ago.
        """
        while True:
            # In this order: a message between the two requests must not push "none yet" behind itself.
            highs = self._offsets(topic, _LATEST)
            found = self._offsets(topic, _OffsetSpec.for_timestamp(timestamp_ms))
            if all(offset >= 0 for offset in found.values()) or highs == self._offsets(topic, _LATEST):
                return {partition: offset if offset >= 0 else highs[partition] for partition, offset in found.items()}

    def read(self, ranges: Sequence[OffsetRange], max_messages: int = 50_000) -> Iterator[Messages]:
        """See `base.EventLog`. Raises EventLogError when part of a range is not in the log (any more, or yet)."""
        for topic in {item.topic for item in ranges}:
            bounds = self.watermarks(topic)
            for _, partition, start, end in (item for item in ranges if item.topic == topic):
                if partition not in bounds:
                    raise EventLogError(f"{self.url}: topic {topic!r} has {len(bounds)} partitions, not {partition}")
                low, high = bounds[partition]
                if start < end and (start < low or end > high):
                    raise EventLogError(
                        f"{self.url}: read {topic}/{partition} from {start} to {end}: the log holds {low} to {high}"
                    )
        yield from self._reader.read(ranges, max_messages)

    def wait_for(self, positions: Mapping[TopicPartition, int], timeout: float) -> bool:
        if not positions:
            time.sleep(timeout)
            return False
        deadline = time.monotonic() + timeout
        highs = {topic: self._offsets(topic, _LATEST) for topic in {place.topic for place in positions}}
        for (topic, partition), offset in positions.items():
            if partition not in highs[topic]:
                raise EventLogError(f"{self.url}: topic {topic!r} has {len(highs[topic])} partitions, not {partition}")
            if highs[topic][partition] > offset:
                return True
        # A position beyond the log is out of range for a fetch: such a partition is watched from its end.
        starts = {place: min(offset, highs[place.topic][place.partition]) for place, offset in positions.items()}
        beyond = any(starts[place] != offset for place, offset in positions.items())
        while self._reader.wait(starts, deadline - time.monotonic()):
            if not beyond or any(
                self._offsets(place.topic, _LATEST)[place.partition] > offset for place, offset in positions.items()
            ):
                return True
            time.sleep(0.02)
        return False

    # -- groups ------------------------------------------------------------------------------------------------------

    def consumer(
        self,
        group: str,
        topics: Sequence[str],
        *,
        member_id: str | None = None,
        on_assign: Callable[[set[TopicPartition]], None] | None = None,
        on_revoke: Callable[[set[TopicPartition]], None] | None = None,
    ) -> KafkaConsumer:
        """See `base.EventLog`. A second process with the same `member_id` takes over at once; the first is fenced."""
        for topic in topics:
            self.partitions(topic)
        return KafkaConsumer(
            self._target,
            group,
            topics,
            member_id=member_id,
            on_assign=on_assign,
            on_revoke=on_revoke,
            session_timeout=self._session_timeout,
            max_poll_interval=self._max_poll_interval,
            timeout=self._timeout,
        )

    def group_commits(self, group: str) -> dict[TopicPartition, Commit]:
        asked = [
            ck.TopicPartition(topic, partition)
            for topic, count in self._partition_counts().items()
            for partition in range(count)
        ]
        if not asked:
            return {}
        request = [ConsumerGroupTopicPartitions(group, asked)]
        future = self._admin.list_consumer_group_offsets(request, request_timeout=self._timeout)[group]
        found = self._wait(f"read commits of group {group!r}", future).topic_partitions or []
        return {
            TopicPartition(item.topic, item.partition): Commit(item.offset, item.metadata or "")
            for item in found
            if item.offset >= 0
        }

    # -- care --------------------------------------------------------------------------------------------------------

    def maintain(self, now_ms: int) -> int:
        """Do nothing: the brokers apply retention and compaction by themselves."""
        del now_ms
        return 0

    def ping(self) -> None:
        self._reader.metadata()

    def close(self) -> None:
        self._appender.close()
        self._reader.close()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _new_topic(self, spec: TopicSpec) -> NewTopic:
        policy = "compact" if spec.compacted else "delete"
        if spec.compacted and spec.retention_ms is not None:
            policy = "compact,delete"
        replicas = spec.replication_factor or self._target.replication_factor
        in_sync = spec.min_insync_replicas or self._target.min_insync_replicas
        config = {
            "cleanup.policy": policy,
            "retention.ms": str(-1 if spec.retention_ms is None else spec.retention_ms),
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self._max_message_bytes + 64 * 1024),
        }
        if in_sync is not None:
            config["min.insync.replicas"] = str(in_sync)
        return NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=-1 if replicas is None else replicas,
            config=config,
        )

    def _partition_counts(self) -> dict[str, int]:
        topics = self._reader.metadata().topics
        return {name: len(found.partitions) for name, found in topics.items() if not name.startswith("__")}

    def _await_topics(self, names: set[str]) -> dict[str, int]:
        """A new topic takes a moment to reach every broker's metadata and to get its leaders."""
        deadline = time.monotonic() + self._timeout
        while True:
            topics = self._reader.metadata().topics
            ready = {
                name
                for name in names & topics.keys()
                if topics[name].partitions and all(item.leader >= 0 for item in topics[name].partitions.values())
            }
            if ready == names:
                return self._partition_counts()
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(names - ready))
                raise LogUnavailableError(f"{self.url}: topics without a leader after {self._timeout:g} s: {missing}")
            time.sleep(0.05)

    def _offsets(self, topic: str, spec: _OffsetSpec) -> dict[int, int]:
        asked = {ck.TopicPartition(topic, partition): spec for partition in range(self.partitions(topic))}
        deadline = time.monotonic() + self._timeout
        while True:
            futures = self._admin.list_offsets(asked, request_timeout=self._timeout)
            try:
                found = {place: self._wait(f"offsets of {topic!r}", future) for place, future in futures.items()}
            except EventLogError as error:
                if not any(_is_code(error, code) for code in _LEADER_MOVES) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                with contextlib.suppress(KafkaException):
                    # librdkafka keeps asking with the leader's old epoch until its metadata are renewed: minutes.
                    self._admin.list_topics(topic, timeout=self._timeout)
            else:
                return {place.partition: info.offset for place, info in found.items()}

    def _wait(self, doing: str, future: Future[T]) -> T:
        try:
            return future.result(self._timeout + 1)
        except KafkaException as error:
            raise explain(self.url, doing, error) from error
        except TimeoutError as error:
            raise LogUnavailableError(f"{self.url}: {doing}: no answer in {self._timeout:g} s") from error


def _is_code(error: EventLogError, code: int) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == code
