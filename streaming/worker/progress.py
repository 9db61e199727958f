"""Keeping a worker's numbers up to date: counts, rates, lag, watermark, and what is wrong.

Belongs here: turning what the loop reports into `WorkerStats`. Does not belong here: the file (`stats`) or the loop.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path

from resources.event_log.base import EventLog, EventLogError, TopicPartition
from streaming.worker.batch import Batch
from streaming.worker.stats import WorkerStats, write_stats
from streaming.worker.writing import Written

_log = logging.getLogger(__name__)

_RATE_WINDOW = 10.0
_IDLE_AFTER = 60.0  # seconds without a message after which a partition no longer holds back the watermark


class Progress:
    """Reported to by the loop and (`problem`) by the writer's thread: single assignments, so no lock."""

    def __init__(self, group: str, path: Path | None, interval: float = 1.0) -> None:
        self.stats = WorkerStats(group)
        self._path = path
        self._interval = interval
        self._next_tick = 0.0
        self._recent: deque[tuple[float, int]] = deque()
        self._steps: dict[str, float] = {}
        self._watermarks: dict[TopicPartition, tuple[int, float]] = {}
        self._newest_append_ms = 0

    def state(self, state: str) -> None:
        self.stats.state = state
        self._write()

    def problem(self, sentence: str) -> None:
        """Say what the worker waits for; '' when it does not wait any more. The file tells it at once."""
        if sentence == self.stats.problem:
            return
        self.stats.problem = sentence
        self.stats.state = "waiting" if sentence else "running"
        self._write()

    def gap(self, place: TopicPartition, expected: int, found: int) -> None:
        _log.error(
            "group %s: %s/%d: messages %d to %d were removed from the log before they were read",
            self.stats.group, *place, expected, found - 1,
        )  # fmt: skip
        self.stats.missed += found - expected

    def step(self, name: str, seconds: float) -> None:
        self._steps[name] = self._steps.get(name, 0.0) + seconds

    def written(self, batch: Batch, written: Written) -> None:
        now = time.monotonic()
        self._recent.append((now, batch.rows))
        stats = self.stats
        stats.batches += 1
        stats.messages += batch.rows
        stats.stored += written.stored
        stats.duplicate += written.duplicate
        stats.quarantined += written.quarantined
        stats.seen_again += written.seen_again
        for name, seconds in written.seconds.items():
            self.step(name, seconds)
        for name, seconds in self._steps.items():
            stats.seconds[name] = round(stats.seconds.get(name, 0.0) + seconds, 6)
        stats.last_batch = {
            "rows": batch.rows,
            "partitions": len(batch.ranges),
            "seconds": {name: round(seconds, 4) for name, seconds in self._steps.items()},
            "at_ms": time.time_ns() // 1_000_000,
        }
        self._steps.clear()
        for place in batch.ranges:
            stats.partitions[f"{place.topic}/{place.partition}"] = place.end
        for partition, at in written.watermarks.items():
            self._watermarks[partition] = (max(at, self._watermarks.get(partition, (0, 0.0))[0]), now)
        self._newest_append_ms = max((piece.timestamps[-1] for piece in batch.messages if len(piece)), default=0)

    def recovered(self, batch: Batch, written: Written) -> None:
        self.stats.recovered_batches += 1
        self.written(batch, written)

    def tick(self, event_log: EventLog, positions: dict[TopicPartition, int], *, at_once: bool = False) -> None:
        """Refresh lag and watermark and write the file, at most once per interval."""
        now = time.monotonic()
        if now < self._next_tick and not at_once:
            return
        self._next_tick = now + self._interval
        if self.stats.state == "starting":
            self.stats.state = "running"
        try:
            highs = {topic: event_log.watermarks(topic) for topic in {place.topic for place in positions}}
        except EventLogError as error:
            _log.debug("lag is unknown: %s", error)
        else:
            self.stats.lag_messages = sum(
                max(0, highs[topic][partition][1] - self.stats.partitions.get(f"{topic}/{partition}", offset))
                for (topic, partition), offset in positions.items()
            )
        behind = self.stats.lag_messages > 0 and self._newest_append_ms > 0
        self.stats.lag_seconds = round(max(0.0, time.time() - self._newest_append_ms / 1000), 3) if behind else 0.0
        active = [at for at, seen in self._watermarks.values() if now - seen < _IDLE_AFTER]
        everything = [at for at, _ in self._watermarks.values()]
        self.stats.watermark_ms = min(active) if active else max(everything, default=None)
        self._write()

    def _write(self) -> None:
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] > _RATE_WINDOW:
            self._recent.popleft()
        self.stats.messages_per_second = round(sum(rows for _, rows in self._recent) / _RATE_WINDOW, 1)
        self.stats.updated_at_ms = time.time_ns() // 1_000_000
        if self._path is None:
            return
        try:
            write_stats(self._path, self.stats)
        except OSError as error:
            _log.warning("cannot write %s: %s", self._path, error)
