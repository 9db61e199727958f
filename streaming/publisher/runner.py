"""The publisher's loop: every task in a thread of its own, at its own pace, until told to stop.

Belongs here: pacing, retrying, reporting, stopping. Does not belong here: what a task does.

A task keeps nothing that matters in memory: whatever it writes is computed whole from the stores, so that a kill at any
instant is healed by starting again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from streaming.publisher.stats import PublisherStats, TaskStats, write_publisher_stats
from streaming.worker.retry import Backoff

REPORT_SECONDS = 1.0
DRAIN_SECONDS = 3.0
"""How long a task may still take when the stop comes; what it leaves undone is done after the next start."""

_log = logging.getLogger(__name__)


class Task(Protocol):
    """Something to do again and again. Making one opens no connection; `run` opens what it needs and may keep it."""

    @property
    def name(self) -> str:
        """A short name, unique in the process; `tally status` shows it."""
        ...

    @property
    def every_seconds(self) -> float:
        """From the start of one run to the start of the next. A longer run delays the next one, never doubles it."""
        ...

    def run(self, now: datetime) -> None:
        """Do it as of `now` (UTC). Whatever it raises is logged once per outage and tried again with back-off."""
        ...


class Publisher:
    """Runs tasks until `stop` is set. `stats_path`: where to report, None for nowhere."""

    def __init__(self, tasks: Sequence[Task], stop: threading.Event, stats_path: Path | None = None) -> None:
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"two tasks of the publisher have one name: {', '.join(sorted(names))}")
        self._tasks = tasks
        self._stop = stop
        self._path = stats_path
        self.stats = PublisherStats(tasks={task.name: TaskStats(task.every_seconds) for task in tasks})

    def run(self) -> None:
        """Return when `stop` is set and every run has ended, or `DRAIN_SECONDS` later."""
        threads = [
            threading.Thread(target=self._repeat, args=(task, self.stats.tasks[task.name]), name=task.name, daemon=True)
            for task in self._tasks
        ]
        for thread in threads:
            thread.start()
        self._report("running")
        while not self._stop.wait(REPORT_SECONDS):
            self._report("running")
        self._report("draining")
        deadline = time.monotonic() + DRAIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _log.warning("task %s is not done %.0f s after the stop; leaving it", thread.name, DRAIN_SECONDS)
        self._report("stopped")

    def _repeat(self, task: Task, stats: TaskStats) -> None:
        backoff = Backoff(base=min(0.2, task.every_seconds), ceiling=10.0)
        failing_since = 0.0
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                task.run(datetime.now(UTC))
            except Exception as error:  # every store has its own errors, and no task may end another
                stats.failures += 1
                stats.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                if not failing_since:
                    failing_since = begun
                    _log.warning("task %s fails, trying again until it does not: %s", task.name, stats.problem)
                self._stop.wait(backoff.next_delay())
                continue
            ended = time.monotonic()
            if failing_since:
                _log.warning("task %s is back after %.1f s", task.name, ended - failing_since)
                failing_since, stats.problem = 0.0, ""
                backoff = Backoff(base=min(0.2, task.every_seconds), ceiling=10.0)
            stats.runs += 1
            stats.last_success_ms = time.time_ns() // 1_000_000
            stats.last_run_seconds = round(ended - begun, 4)
            stats.longest_run_seconds = max(stats.longest_run_seconds, stats.last_run_seconds)
            self._stop.wait(max(0.0, begun + task.every_seconds - ended))

    def _report(self, state: str) -> None:
        self.stats.state = state
        failing = [f"{name}: {task.problem}" for name, task in self.stats.tasks.items() if task.problem]
        self.stats.problem = "; ".join(failing)
        self.stats.updated_at_ms = time.time_ns() // 1_000_000
        if self._path is None:
            return
        try:
            write_publisher_stats(self._path, self.stats)
        except OSError as error:
            _log.warning("cannot write %s: %s", self._path, error)
