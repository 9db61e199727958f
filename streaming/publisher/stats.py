"""What the publisher tells about itself: one JSON file, replaced atomically, that `tally status` reads.

Belongs here: the shape of the file. Does not belong here: when it is written (`runner`).
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from streaming.process import replace_json


@dataclass(slots=True)
class TaskStats:
    """Counts since the process started. Times are ms since the epoch, UTC; 0 where it never happened."""

    every_seconds: float
    runs: int = 0
    failures: int = 0
    last_success_ms: int = 0
    last_run_seconds: float = 0.0
    longest_run_seconds: float = 0.0
    problem: str = ""  # why it is being tried again; '' when the last run succeeded


@dataclass(slots=True)
class PublisherStats:
    """As the workers' file: `state` is starting, running, draining or stopped."""

    pid: int = field(default_factory=os.getpid)
    state: str = "starting"
    problem: str = ""
    started_at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    updated_at_ms: int = 0
    tasks: dict[str, TaskStats] = field(default_factory=dict)


def write_publisher_stats(path: Path, stats: PublisherStats) -> None:
    """Replace the file: a reader sees the old one or the new one, never half of it. Raises OSError."""
    replace_json(path, asdict(stats))
