"""What a worker tells about itself: one JSON file, replaced atomically, that `tally status` reads.

Belongs here: the shape of the file, writing and reading it. Does not belong here: when (`progress`), or accounting,
which is a query over positions.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streaming.process import replace_json


@dataclass(slots=True)
class WorkerStats:
    """Counts since the process started. Times are ms since the epoch, UTC; lag is in messages and in seconds."""

    group: str
    pid: int = field(default_factory=os.getpid)
    state: str = "starting"  # starting, running, waiting (a store is down), draining, stopped
    problem: str = ""
    started_at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    updated_at_ms: int = 0
    batches: int = 0
    recovered_batches: int = 0
    messages: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    seen_again: int = 0  # rows met again at their own position (a replay): already stored, not counted twice
    missed: int = 0  # messages that the log's retention removed before they were read
    seconds: dict[str, float] = field(default_factory=dict)  # time spent by step: poll, decode, lookup, insert, commit
    messages_per_second: float = 0.0
    lag_messages: int = 0
    lag_seconds: float = 0.0
    last_batch: dict[str, Any] = field(default_factory=dict)  # rows, partitions, seconds by step, at_ms
    watermark_ms: int | None = None  # least over partitions of the largest event_time written
    partitions: dict[str, int] = field(default_factory=dict)  # "topic/partition" -> next offset to be written


def read_stats(path: Path) -> dict[str, Any] | None:
    """Read a worker's or the publisher's file; None when there is none. ValueError names one that is not JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not a process's stats file: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a process's stats file: it holds a {type(value).__name__}")
    return value


def write_stats(path: Path, stats: WorkerStats) -> None:
    """Replace the file: a reader sees the old one or the new one, never half of it. Raises OSError."""
    replace_json(path, asdict(stats))
