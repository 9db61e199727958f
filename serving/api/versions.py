"""How far the store is, asked a few times a second for all questions together.

Belongs here: when to ask, and that one asks for all. Does not belong here: what a version is (`serving.progress`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

from serving.api.problems import ProblemError
from serving.api.stores import Stores
from serving.api.telemetry import Telemetry
from serving.progress import Progress, read_progress

IDLE_SECONDS = 30.0
"""Without a question for this long the store is left alone; the next question asks it first."""

SETTLE_SECONDS = 5.0
"""ClickHouse fills an insert's views one after the other: for a moment, the table that tells the version is ahead."""


class Versions:
    """What `now` returns was true at most `bound` seconds ago. Used from one event loop."""

    def __init__(
        self, stores: Stores, telemetry: Telemetry, bound: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores = stores
        self._telemetry = telemetry
        self._bound = bound
        self._clock = clock
        self._seen: Progress | None = None
        self._seen_at = float("-inf")
        self._since = float("-inf")
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[Progress] | None = None
        self._background: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep what `now` returns fresh, so that answers that are in the cache need no store at all."""
        self._background = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background

    async def now(self, least: int = 0) -> Progress:
        """Return how far the store is, asking it when that is not known or when a caller has seen a later version.

        Raises ProblemError when the store does not answer.
        """
        known = self.known(least)
        if known is not None:
            return known
        asked_at = self._asked_at
        seen = await self.ask()
        if seen.sequence >= least and asked_at - self._seen_at < self._bound:
            return seen
        # It was someone else's question to the store, begun too early for this caller.
        return await self.ask()

    def known(self, least: int = 0) -> Progress | None:
        """What `now` returns if it need not ask; None: it must."""
        self._asked_at = self._clock()
        seen = self._seen
        fresh = seen is not None and self._asked_at - self._seen_at < self._bound and seen.sequence >= least
        return seen if fresh else None

    def is_settled(self) -> bool:
        """Whether the version that was seen last has stood for a while, so that all tables have what it counts."""
        return self._clock() - self._since >= SETTLE_SECONDS

    async def ask(self) -> Progress:
        """Ask the store now; callers that come meanwhile share the answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._read())
        return await asyncio.shield(self._asking)

    async def _read(self) -> Progress:
        began = self._clock()
        self._telemetry.version_reads += 1
        seen = await self._stores.ask(lambda client: read_progress(client, datetime.now(UTC), None))
        if self._seen is None or self._seen.version != seen.version:
            self._since = self._clock()
        self._seen, self._seen_at = seen, began
        return seen

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._bound / 2)
            if self._clock() - self._asked_at < IDLE_SECONDS:
                with contextlib.suppress(ProblemError):  # whoever asks next is told
                    await self.ask()
