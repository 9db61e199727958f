"""Sending to Kafka and waiting until it is durable.

Belongs here: one idempotent producer, its delivery reports, its renewal after a fatal error. Does not belong here:
choosing partitions, topics.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from resources.event_log.base import LogUnavailableError
from resources.event_log.kafka_config import ErrorLog, KafkaTarget, explain

_log = logging.getLogger(__name__)

_MAX_BYTES_UNDER_WAY = 256 * 1024 * 1024
_REPORT_GRACE = 5.0  # seconds after which a delivery report that librdkafka owes is given up


class _Batch:
    """The delivery reports of one append. Reports of a partition come in the order of its messages."""

    def __init__(self, expected: int) -> None:
        self.offsets: dict[int, list[int]] = {}
        self.error: KafkaError | None = None
        self.unplaced = 0  # acknowledged without an offset
        self.done = threading.Event()
        self._left = expected
        self._lock = threading.Lock()

    def report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.fail(error, 1)
            return
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            self.unplaced += 1
        else:
            self.offsets.setdefault(partition, []).append(offset)
        self._settle(1)

    def fail(self, error: KafkaError, count: int) -> None:
        self.error = self.error or error
        self._settle(count)

    def _settle(self, count: int) -> None:
        with self._lock:
            self._left -= count
            if self._left == 0:
                self.done.set()


class KafkaAppender:
    """Thread-safe: appends of several threads share librdkafka's batches."""

    def __init__(
        self, target: KafkaTarget, *, linger_ms: float, compression: str, timeout: float, max_message_bytes: int
    ):
        self._target = target
        self._timeout = timeout
        self._properties = {
            **target.properties,
            "enable.idempotence": True,  # implies acks=all, and no retry of librdkafka ever doubles or reorders
            "linger.ms": linger_ms,
            "compression.type": compression,
            "message.max.bytes": max_message_bytes + 64 * 1024,  # room for the framing around one message
            "message.timeout.ms": int(timeout * 1000),
            "request.timeout.ms": max(1000, int(timeout * 500)),
            "queue.buffering.max.messages": 0,  # bounded by bytes, below: `produce_batch` loses order on a full queue
        }
        self._lock = threading.Lock()
        self._room = threading.Condition()
        self._bytes_under_way = 0
        self._producer: Producer | None = None
        self._failed: list[Producer] = []
        self._is_closed = False
        self._errors = ErrorLog(_log, target.url)
        self._stopping = threading.Event()
        self._reports = threading.Thread(target=self._serve_reports, name="kafka-delivery-reports", daemon=True)

    def append(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], partitions: Sequence[int]
    ) -> list[int]:
        """Send and wait; returns each message's offset.

        Raises:
            LogUnavailableError: not all are known to be durable within the timeout.
            EventLogError: the broker refuses them for good.
        """
        size = sum(len(value) for value in values if value is not None)
        self._take_room(size)
        try:
            batch = self._send(topic, keys, values, partitions)
            if not batch.done.wait(self._timeout + _REPORT_GRACE):
                raise LogUnavailableError(
                    f"{self._place(topic)}: no delivery report in {self._timeout:g} s ({self._errors.recent})"
                )
        finally:
            self._give_room(size)
        if batch.error is not None:
            raise explain(self._target.url, f"append to {topic!r}", batch.error, self._errors.recent)
        if batch.unplaced:
            # The broker called them duplicates (librdkafka takes that for success). On a partition that knew nothing of
            # this producer it says so, too, of messages that a later batch has overtaken, and these are not in the log.
            raise LogUnavailableError(
                f"{self._place(topic)}: {batch.unplaced} of {len(values)} messages were acknowledged without an offset:"
                " whether the log holds them is unknown"
            )
        next_report = {partition: iter(offsets) for partition, offsets in batch.offsets.items()}
        return [next(next_report[partition]) for partition in partitions]

    def close(self) -> None:
        """Wait for what is under way, then stop."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            producer = self._producer
        if producer is not None:
            producer.flush(self._timeout)
        self._stopping.set()
        if self._reports.is_alive():
            self._reports.join()

    def _send(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], partitions: Sequence[int]
    ) -> _Batch:
        producer = self._get_producer()
        batch = _Batch(len(values))
        # One call per partition: `produce_batch` ignores a partition given per message.
        rows_of: dict[int, list[dict[str, object]]] = {}
        for key, value, partition in zip(keys, values, partitions, strict=True):
            rows_of.setdefault(partition, []).append({"key": key, "value": value})
        try:
            for partition, rows in rows_of.items():
                queued = producer.produce_batch(topic, rows, partition=partition, on_delivery=batch.report)
                if queued < len(rows):
                    refused = next(error for row in rows if isinstance(error := row.get("_error"), KafkaError))
                    batch.fail(refused, len(rows) - queued)
        except (KafkaException, BufferError) as error:
            raise LogUnavailableError(f"{self._place(topic)}: {error}") from error
        return batch

    def _get_producer(self) -> Producer:
        with self._lock:
            if self._is_closed:
                raise LogUnavailableError(f"{self._target.url}: the log is closed")
            if self._producer is None:
                try:
                    self._producer = Producer({**self._properties, "error_cb": self._on_error, "logger": _log})
                except KafkaException as error:
                    raise explain(self._target.url, "configure the producer", error) from error
                if not self._reports.is_alive():
                    self._reports.start()
            return self._producer

    def _serve_reports(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                producer = self._producer
                self._failed = [failed for failed in self._failed if len(failed) > 0]
                failed = list(self._failed)
            for old in failed:
                old.purge()  # its messages get an error report, and whoever waits for them is told
                old.poll(0.0)
            if producer is None:
                self._stopping.wait(0.05)
            else:
                producer.poll(0.1)

    def _on_error(self, error: KafkaError) -> None:
        self._errors(error)
        if error.fatal():
            _log.error("%s: the producer is replaced after a fatal error: %s", self._target.url, error)
            with self._lock:
                if self._producer is not None:
                    self._failed.append(self._producer)
                self._producer = None

    def _take_room(self, size: int) -> None:
        with self._room:
            free = self._room.wait_for(
                lambda: self._bytes_under_way == 0 or self._bytes_under_way + size <= _MAX_BYTES_UNDER_WAY,
                self._timeout,
            )
            if not free:
                raise LogUnavailableError(
                    f"{self._target.url}: {self._bytes_under_way:,} bytes wait for the brokers already"
                )
            self._bytes_under_way += size

    def _give_room(self, size: int) -> None:
        with self._room:
            self._bytes_under_way -= size
            self._room.notify_all()

    def _place(self, topic: str) -> str:
        return f"{self._target.url}: append to {topic!r}"
