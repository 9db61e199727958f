"""The event log's interface: partitioned, append-only, replayable. Implementations: `sqlite` (embedded) and `kafka`.

Belongs here: the types and the promises both implementations keep. Does not belong here: what is inside a message.
`tests/resources/event_log/` runs one contract suite over both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class OffsetRange(NamedTuple):
    """Messages of one partition with `start <= offset < end`."""

    topic: str
    partition: int
    start: int
    end: int


class Commit(NamedTuple):
    """A consumer group's place: `offset` is the next message to read; `metadata` at most 4,000 bytes of UTF-8."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be. `retention_ms=None` keeps everything; `compacted` keeps the last message per key.

    Replicas that are not stated are those of the log's URL (`?replication.factor=3&min.insync.replicas=2`), else the
    cluster's own default.
    """

    name: str
    partitions: int
    retention_ms: int | None = None
    compacted: bool = False
    min_insync_replicas: int | None = None
    replication_factor: int | None = None


@dataclass(frozen=True, slots=True)
class Messages:
    """Consecutive messages of one partition, as parallel lists (columns): no object per message on the hot path.

    `offsets` ascend but may have holes (compaction, transactions). `timestamps` are append times in ms since the epoch.
    A value of None is a tombstone.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Appended:
    """Where appended messages are now, in the order given: `partitions[i]`, `offsets[i]`. All durable."""

    topic: str
    partitions: Sequence[int]
    offsets: Sequence[int]
    extra: Mapping[str, str] = field(default_factory=dict)


class EventLogError(Exception):
    """The log could not do what was asked; the message names the log, the topic and the cause."""


class LogUnavailableError(EventLogError):
    """Transient: the log does not answer or is full; nothing can be said of the messages. Safe to try again."""


class FencedError(EventLogError):
    """The commit came from a member that no longer owns the partition. The new owner goes on; do not retry."""


class Consumer(Protocol):
    """One member of a consumer group. Not thread-safe."""

    def poll(self, max_messages: int, timeout: float) -> list[Messages]:
        """Return up to `max_messages` from the assigned partitions, waiting up to `timeout` seconds for the first."""
        ...

    def assignment(self) -> set[TopicPartition]: ...

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Commit]:
        """Return the group's commits; a partition without one is absent."""
        ...

    def commit(self, commits: Mapping[TopicPartition, Commit]) -> None:
        """Commit all of them or none.

        Raises FencedError when this member has lost one of the partitions. Those of the others that are not committed
        after all are delivered again by `poll`, from the group's commit on.
        """
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    def close(self) -> None: ...


class EventLog(Protocol):
    """A log chosen by URL with `resources.event_log.open_event_log`. Thread-safe, except for consumers."""

    url: str

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make what is missing. Raises EventLogError when an existing topic has other partitions than stated."""
        ...

    def partitions(self, topic: str) -> int: ...

    def append(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Appended:
        """Append in order, equal keys to equal partitions, and return when durable.

        Internal retries never double a message. Raises LogUnavailableError when durability is unknown.
        """
        ...

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Per partition `(low, high)`: the first readable offset, and the offset the next message will get."""
        ...

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        """Per partition the first offset appended at or after the time; the high watermark where there is none."""
        ...

    def read(self, ranges: Sequence[OffsetRange], max_messages: int = 50_000) -> Iterator[Messages]:
        """Replay exactly these ranges, outside any group, in chunks of at most `max_messages`."""
        ...

    def wait_for(self, positions: Mapping[TopicPartition, int], timeout: float) -> bool:
        """Block until any partition's high watermark is above its given position; False when `timeout` s pass."""
        ...

    def consumer(
        self,
        group: str,
        topics: Sequence[str],
        *,
        member_id: str | None = None,
        on_assign: Callable[[set[TopicPartition]], None] | None = None,
        on_revoke: Callable[[set[TopicPartition]], None] | None = None,
    ) -> Consumer:
        """Join a group. A group without a commit starts at the low watermark. `member_id` makes membership static."""
        ...

    def group_commits(self, group: str) -> dict[TopicPartition, Commit]:
        """Read a group's commits without joining it."""
        ...

    def maintain(self, now_ms: int) -> int:
        """Apply retention and compaction where the log does not do so by itself; returns messages removed."""
        ...

    def ping(self) -> None:
        """Raise LogUnavailableError when the log does not answer."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """What a log knows of its own messages, as (topic, partition, offset).

    `absent`: inside the watermarks, but not there; `damaged`: not as appended; `unproven`: appended without a checksum.
    """

    absent: frozenset[tuple[str, int, int]] = frozenset()
    damaged: frozenset[tuple[str, int, int]] = frozenset()
    unproven: frozenset[tuple[str, int, int]] = frozenset()


@runtime_checkable
class MendableLog(Protocol):
    """A log that leaves no holes in topics that are not compacted, and can be written at an offset.

    Kafka is none: its brokers keep and check a checksum per batch themselves, and take messages at the end alone.
    """

    def inspect(self, ranges: Sequence[OffsetRange]) -> Condition:
        """Look at every message of the ranges, as far as the log holds them."""
        ...

    def restore(
        self, place: TopicPartition, offsets: Sequence[int], keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        """Write messages at their offsets in one transaction; what lay there is kept aside.

        Raises EventLogError when an offset is not between the watermarks.
        """
        ...
