"""Group commit: requests that arrive together are mapped together and share one durable append.

Belongs here: gathering, handing to a thread, giving each request its own answer. Does not belong here: HTTP (`app`).

Why: mapping has a fixed cost per call and an append costs an fsync. While one group is written, the next gathers, so a
busy collector makes larger groups by itself; an idle one waits `linger` seconds at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from resources.event_log.base import EventLog
from streaming.intake import Admission, Submission, append, prepare

_log = logging.getLogger(__name__)


class GroupCommit:
    """Admits submissions. Use from one event loop; the work is done in one thread, in order of arrival."""

    def __init__(
        self, event_log: EventLog, linger: float, max_rows: int, on_group: Callable[[int], None] | None = None
    ) -> None:
        self._event_log = event_log
        self._linger = linger
        self._max_rows = max_rows
        self._on_group = on_group
        self._waiting: deque[tuple[Submission, asyncio.Future[Admission]]] = deque()
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="append")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="group-commit")

    async def admit(self, submission: Submission) -> Admission:
        """Return when the submission is durable. Raises what `streaming.intake.append` raises."""
        future: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Stop after the group that is being written; what still waits is cancelled, hence not acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        self._executor.shutdown(wait=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if sum(submission.size for submission, _ in self._waiting) < self._max_rows:
                await asyncio.sleep(self._linger)
            group = self._take()
            try:
                admissions = await loop.run_in_executor(self._executor, self._write, [item for item, _ in group])
            except asyncio.CancelledError:
                for _, future in group:
                    future.cancel()
                raise
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), admission in zip(group, admissions, strict=True):
                if not future.done():
                    future.set_result(admission)

    def _take(self) -> list[tuple[Submission, asyncio.Future[Admission]]]:
        """Take requests in order of arrival, at least one; those whose client has gone are left out."""
        group: list[tuple[Submission, asyncio.Future[Admission]]] = []
        rows = 0
        while self._waiting and (not group or rows + self._waiting[0][0].size <= self._max_rows):
            submission, future = self._waiting.popleft()
            if not future.done():
                group.append((submission, future))
                rows += submission.size
        if not self._waiting:
            self._arrived.clear()
        return group

    def _write(self, group: list[Submission]) -> list[Admission]:
        prepared = prepare(group)
        admissions = append(prepared, self._event_log)
        if self._on_group is not None:
            self._on_group(prepared.messages)
        return admissions
