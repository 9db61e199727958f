"""Reading Kafka outside any group: exact ranges, and waiting for a high watermark to move.

Belongs here: consumers that are assigned by hand and never commit. Does not belong here: groups.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka.admin._metadata import ClusterMetadata

from resources.event_log.base import EventLogError, LogUnavailableError, Messages, OffsetRange, TopicPartition
from resources.event_log.kafka_config import ErrorLog, KafkaTarget, explain

_log = logging.getLogger(__name__)


def columns(place: TopicPartition, found: Sequence[Message]) -> Messages:
    """Turn librdkafka's messages of one partition into columns."""
    return Messages(
        place.topic,
        place.partition,
        [message.offset() or 0 for message in found],
        [message.timestamp()[1] for message in found],
        [message.key() for message in found],
        [message.value() for message in found],
    )


def by_partition(found: Sequence[Message]) -> dict[TopicPartition, list[Message]]:
    grouped: dict[tuple[str | None, int | None], list[Message]] = {}
    for message in found:
        grouped.setdefault((message.topic(), message.partition()), []).append(message)
    return {TopicPartition(topic or "", partition or 0): rows for (topic, partition), rows in grouped.items()}


class KafkaReader:
    """Thread-safe: lends a consumer of its own to each caller, and keeps it for the next."""

    def __init__(self, target: KafkaTarget, *, timeout: float, max_message_bytes: int) -> None:
        self._target = target
        self._timeout = timeout
        self._errors = ErrorLog(_log, target.url)
        self._properties: dict[str, object] = {
            **target.properties,
            "group.id": "tally-reader",  # required by librdkafka; never joined, nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            # A consumer that is used again waits for the fetch it has under way: that must not take long.
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 64 * 1024,
            "message.max.bytes": max_message_bytes + 64 * 1024,
            "error_cb": self._errors,
            "logger": _log,
        }
        self._idle: queue.LifoQueue[Consumer] = queue.LifoQueue()
        self._is_closed = False

    def read(self, ranges: Sequence[OffsetRange], max_messages: int) -> Iterator[Messages]:
        """Yield the messages of ranges that lie within the watermarks (the caller has made sure)."""
        waiting: dict[TopicPartition, deque[OffsetRange]] = {}
        for item in ranges:
            if item.start < item.end:
                waiting.setdefault(TopicPartition(item.topic, item.partition), deque()).append(item)
        with self._consumer() as consumer:
            while waiting:
                # One range of each partition at a time: a partition has one position.
                now = {place: items.popleft() for place, items in waiting.items()}
                waiting = {place: items for place, items in waiting.items() if items}
                yield from self._read_side_by_side(consumer, now, max_messages)

    def wait(self, positions: Mapping[TopicPartition, int], timeout: float) -> bool:
        """Return True as soon as a message at or after one of the positions can be read."""
        deadline = time.monotonic() + timeout
        # A fresh consumer whose fetches rest at the broker: silent while nothing comes, woken at once when it does.
        consumer = self._connect({"fetch.wait.max.ms": 1_000})
        try:
            consumer.assign([ck.TopicPartition(*place, offset) for place, offset in positions.items()])
            while (left := deadline - time.monotonic()) > 0:
                message = consumer.poll(left)
                if message is not None and message.error() is None:
                    return True
                if message is not None:
                    self._raise_unless_end(message)
            return False
        finally:
            consumer.close()

    def metadata(self, topic: str | None = None) -> ClusterMetadata:
        """Return the brokers' metadata; asking for an unknown topic does not create it."""
        with self._consumer() as consumer:
            try:
                found: ClusterMetadata = (
                    consumer.list_topics(timeout=self._timeout)
                    if topic is None
                    else consumer.list_topics(topic, timeout=self._timeout)
                )
            except KafkaException as error:
                consumer.poll(0)  # lets `error_cb` speak
                raise explain(self._target.url, "metadata", error, self._errors.recent) from error
            return found

    def close(self) -> None:
        self._is_closed = True
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _read_side_by_side(
        self, consumer: Consumer, ranges: Mapping[TopicPartition, OffsetRange], max_messages: int
    ) -> Iterator[Messages]:
        left = dict(ranges)
        consumer.assign([ck.TopicPartition(*place, item.start) for place, item in left.items()])
        silent_since = time.monotonic()
        while left:
            found = take(consumer, max_messages, 0.2)
            if found:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > self._timeout:
                places = ", ".join(
                    f"{item.topic}/{item.partition} [{item.start}, {item.end})" for item in left.values()
                )
                raise LogUnavailableError(f"{self._target.url}: read {places}: nothing came for {self._timeout:g} s")
            for place, rows in by_partition(found).items():
                if place not in left:
                    continue  # fetched before the partition was given back
                end = left[place].end
                # Past the end, or at the end of the log: what is missing before it does not exist (compaction).
                is_done = any(_is_end(row) or (row.error() is None and (row.offset() or 0) >= end - 1) for row in rows)
                wanted = [row for row in rows if row.error() is None and (row.offset() or 0) < end]
                for row in rows:
                    if row.error() is not None:
                        self._raise_unless_end(row)
                if wanted:
                    yield columns(place, wanted)
                if is_done:
                    del left[place]
                    consumer.incremental_unassign([ck.TopicPartition(*place)])

    def _raise_unless_end(self, message: Message) -> None:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return
        translated = explain(self._target.url, f"read {message.topic()}/{message.partition()}", error)
        if not isinstance(translated, LogUnavailableError):
            raise translated
        # A transient error: librdkafka goes on trying; the caller's own timeout decides.

    def _connect(self, changes: Mapping[str, int]) -> Consumer:
        self._check_open()
        try:
            return Consumer({**self._properties, **changes})
        except KafkaException as error:
            raise explain(self._target.url, "configure the reader", error) from error

    def _check_open(self) -> None:
        if self._is_closed:
            raise EventLogError(f"{self._target.url}: the log is closed")

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        self._check_open()
        try:
            consumer = self._idle.get_nowait()
        except queue.Empty:
            consumer = self._connect({})
        try:
            yield consumer
        finally:
            if self._is_closed:
                consumer.close()
            else:
                consumer.unassign()
                self._idle.put(consumer)


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def take(consumer: Consumer, max_messages: int, timeout: float) -> list[Message]:
    """Wait for the first message only: `consume(n, timeout)` would wait for n."""
    found = consumer.consume(1, timeout)
    if found and max_messages > 1:
        found += consumer.consume(max_messages - 1, 0)
    return found
