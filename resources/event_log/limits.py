"""What every implementation refuses, with one wording: batch shape, message size, commit metadata.

Belongs here: checks on what a caller hands over. Does not belong here: what a store reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resources.event_log.base import Commit, EventLogError, TopicPartition

MAX_COMMIT_METADATA_BYTES = 4_000
"""Kafka refuses more than 4,095 bytes of commit metadata; the rest is head-room for its own framing."""

DEFAULT_MAX_MESSAGE_BYTES = 2 * 1024 * 1024


def check_batch(
    url: str, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], max_message_bytes: int
) -> None:
    """Refuse a batch before any of it is written. Sizes are key plus value, in bytes.

    Raises:
        ValueError: keys and values differ in number.
        EventLogError: a message is over `max_message_bytes`; names its position in the batch.
    """
    if len(keys) != len(values):
        raise ValueError(f"{url}: append to {topic!r}: {len(keys)} keys for {len(values)} values")
    for index, (key, value) in enumerate(zip(keys, values, strict=True)):
        size = (len(value) if value is not None else 0) + (len(key) if key is not None else 0)
        if size > max_message_bytes:
            raise EventLogError(
                f"{url}: append to {topic!r}: message {index} has {size:,} bytes, "
                f"the limit max_message_bytes is {max_message_bytes:,}; nothing was appended"
            )


def check_commits(url: str, group: str, commits: Mapping[TopicPartition, Commit]) -> None:
    """Refuse a commit no implementation could keep.

    Raises:
        EventLogError: metadata over 4,000 bytes of UTF-8, or a negative offset; names group and partition.
    """
    for (topic, partition), commit in commits.items():
        size = len(commit.metadata.encode())
        place = f"{url}: commit of group {group!r} for {topic}/{partition}"
        if size > MAX_COMMIT_METADATA_BYTES:
            raise EventLogError(f"{place}: metadata has {size:,} bytes, the limit is {MAX_COMMIT_METADATA_BYTES:,}")
        if commit.offset < 0:
            raise EventLogError(f"{place}: offset {commit.offset} is negative")
