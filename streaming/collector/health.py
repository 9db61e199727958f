"""Whether the log can take more: asked once a second beside the requests, so that no request waits for the answer.

Belongs here: reachability and lag. Does not belong here: what is answered then (`app`).
"""

from __future__ import annotations

import asyncio
import logging
import time

from contracts.event_types import TOPICS
from resources.event_log.base import EventLog, EventLogError, TopicPartition
from streaming.topics import GROUPS

_log = logging.getLogger(__name__)

_INTERVAL = 1.0
_TRY_AGAIN = 10.0
"""Seconds after a failed append in which the collector says that it is not ready. Then rows may come and try again:
nothing but an append shows whether a full disk has room again."""


class LogHealth:
    """`problem` is '' while all is well; `lag` is the number of messages the slowest group has not committed."""

    def __init__(self, event_log: EventLog, max_lag_messages: int) -> None:
        self._event_log = event_log
        self._max_lag = max_lag_messages
        self._task: asyncio.Task[None] | None = None
        self.problem = "the event log has not answered yet"
        self.is_reachable = False
        self.lag = 0
        self._append_failure = ""
        self._failed_at = 0.0

    @property
    def not_ready(self) -> str:
        """Why no rows should be sent here now; '' while all is well. The last append counts, if it failed just now."""
        if self._append_failure and time.monotonic() - self._failed_at < _TRY_AGAIN:
            return self.problem or f"the last append failed: {self._append_failure}"
        return self.problem

    def append_failed(self, why: str) -> None:
        self._append_failure, self._failed_at = why, time.monotonic()

    def append_succeeded(self) -> None:
        self._append_failure = ""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="log-health")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                problem = await asyncio.to_thread(self._look)
                self.is_reachable = True
            except EventLogError as error:
                problem, self.is_reachable = f"the event log is not available: {error}", False
            if problem != self.problem:
                _log.log(logging.WARNING if problem else logging.INFO, "%s", problem or "the event log takes messages")
            self.problem = problem
            await asyncio.sleep(_INTERVAL)

    def _look(self) -> str:
        self._event_log.ping()
        if not self._max_lag:
            return ""
        highs = {topic: self._event_log.watermarks(topic) for topic in TOPICS}
        lags = []
        for group in GROUPS:
            commits = self._event_log.group_commits(group)
            read = {place: commit.offset for place, commit in commits.items()}
            lags.append(
                sum(
                    max(0, high - read.get(TopicPartition(topic, partition), low))
                    for topic, bounds in highs.items()
                    for partition, (low, high) in bounds.items()
                )
            )
        self.lag = max(lags)
        return (
            f"{self.lag} messages wait to be stored, the limit is {self._max_lag}" if self.lag > self._max_lag else ""
        )
