"""What a worker needs to know to run: its group, its stores, its batch sizes.

Belongs here: names and defaults. Does not belong here: reading the environment (`orchestration.settings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Group = Literal["raw", "live"]


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Times in seconds. `group="raw"` needs `raw_store_url`, `group="live"` needs `clickhouse_url`."""

    group: Group
    event_log_url: str
    raw_store_url: str = ""
    clickhouse_url: str = ""
    member_id: str | None = None  # a name that survives restarts: its partitions wait for it a while
    topic_partitions: int = 4
    retention_days: int | None = 7
    max_batch_rows: int = 20_000
    max_batch_bytes: int = 32 * 1024 * 1024
    linger: float = 0.2
    drain_timeout: float = 8.0
    stats_path: Path | None = None
    stats_interval: float = 1.0
