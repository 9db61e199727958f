"""What the collector needs to know to run: stores, port, keys and limits.

Belongs here: names, defaults and their validation. Does not belong here: the environment (`orchestration.settings`).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriteKey:
    """The right to write into one workspace. The key itself is not kept, only its SHA-256."""

    workspace: str
    digest: bytes

    @classmethod
    def of(cls, workspace: str, key: str) -> WriteKey:
        return cls(workspace, hashlib.sha256(key.encode()).digest())


def parse_write_keys(text: str) -> tuple[WriteKey, ...]:
    """Read `workspace=key,workspace=key`; a workspace may have several keys.

    Raises ValueError naming the entry's position, never the key.
    """
    keys = []
    for position, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        workspace, equals, key = entry.partition("=")
        if not equals or not workspace.strip() or not key.strip():
            raise ValueError(f"write keys: entry {position} is not of the form workspace=key")
        keys.append(WriteKey.of(workspace.strip(), key.strip()))
    if not keys:
        raise ValueError("write keys: none given, so nobody could send events")
    return tuple(keys)


def workspace_of(keys: tuple[WriteKey, ...], presented: str) -> WriteKey | None:
    """Find the key's entry. Every entry is compared, each in constant time, so that timing tells nothing."""
    digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """Sizes in bytes, times in seconds, rates per second and write key (0 = unlimited)."""

    event_log_url: str
    write_keys: tuple[WriteKey, ...]
    raw_store_url: str = ""  # '' = receipts are not answered
    host: str = "127.0.0.1"
    port: int = 8070
    default_mapping: str = "tally"  # how rows are read when the request names no network
    topic_partitions: int = 4
    retention_days: int | None = 7
    max_body_bytes: int = 8 * 1024 * 1024
    max_decoded_bytes: int = 32 * 1024 * 1024
    max_rows: int = 20_000
    max_in_flight_bytes: int = 128 * 1024 * 1024
    body_timeout: float = 30.0
    append_timeout: float = 10.0
    linger: float = 0.002
    max_group_rows: int = 20_000
    requests_per_second: float = 0.0
    rows_per_second: float = 0.0
    burst_seconds: float = 2.0
    max_lag_messages: int = 0  # unread messages of the slowest group above which requests are put off
    drain_timeout: float = 8.0
