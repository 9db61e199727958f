"""The event log: where every accepted event is durable first. Chosen by URL.

Belongs here: the interface (`base`), its implementations, and `open_event_log`. Does not belong here: what a message
means, who reads it and when.
"""

from __future__ import annotations

from typing import Any

from resources.event_log.base import (
    Appended,
    Commit,
    Consumer,
    EventLog,
    EventLogError,
    FencedError,
    LogUnavailableError,
    Messages,
    OffsetRange,
    TopicPartition,
    TopicSpec,
)

__all__ = [
    "Appended",
    "Commit",
    "Consumer",
    "EventLog",
    "EventLogError",
    "FencedError",
    "LogUnavailableError",
    "Messages",
    "OffsetRange",
    "TopicPartition",
    "TopicSpec",
    "open_event_log",
]


def open_event_log(url: str, **options: Any) -> EventLog:
    """Open the log a URL names: `sqlite:///path` (embedded) or `kafka://host:port[,host:port]`.

    Args:
        url: Where the log is.
        options: Passed to the implementation: see `sqlite.SqliteEventLog` and `kafka.KafkaEventLog`.

    Raises:
        EventLogError: unknown scheme, or the URL does not say where the log is.
        LogUnavailableError: the log does not answer.
    """
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from resources.event_log.sqlite import SqliteEventLog

        return SqliteEventLog(url, **options)
    if scheme == "kafka":
        from resources.event_log.kafka import KafkaEventLog

        return KafkaEventLog(url, **options)
    raise EventLogError(f"event log URL {url!r}: unknown scheme {scheme!r}, expected sqlite:/// or kafka://")
