"""The event log's topics and consumer groups as the pipeline uses them.

Belongs here: names, partition counts and retention. Does not belong here: which event goes to which topic
(`contracts.event_types`) or how a log makes a topic (`resources.event_log`).
"""

from __future__ import annotations

from contracts.event_types import TOPICS
from resources.event_log.base import EventLog, TopicSpec

GROUP_RAW = "raw"
GROUP_LIVE = "live"
GROUPS: tuple[str, ...] = (GROUP_RAW, GROUP_LIVE)

DEFAULT_PARTITIONS = 4
DEFAULT_RETENTION_DAYS = 7
_MS_PER_DAY = 86_400_000


def topic_specs(
    partitions: int = DEFAULT_PARTITIONS,
    retention_days: int | None = DEFAULT_RETENTION_DAYS,
) -> list[TopicSpec]:
    """Describe every topic. `retention_days=None` keeps messages for ever. None is compacted: every offset stays.

    How often a topic is replicated is a matter of the log (its URL), not of the pipeline.
    """
    retention_ms = None if retention_days is None else retention_days * _MS_PER_DAY
    return [
        TopicSpec(
            name=topic,
            partitions=partitions,
            retention_ms=retention_ms,
        )
        for topic in TOPICS
    ]


def create_topics(
    event_log: EventLog, partitions: int = DEFAULT_PARTITIONS, retention_days: int | None = DEFAULT_RETENTION_DAYS
) -> None:
    """Make the topics that are missing. Raises EventLogError when one exists with other partitions."""
    event_log.create_topics(topic_specs(partitions, retention_days))
