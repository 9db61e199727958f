"""Live answers: what changes is computed once for all clients that ask the same, and handed to each as it can take it.

Belongs here: feeds, when they are renewed, who waits for them. Does not belong here: the bytes of an event stream and
its connection (`routes_live`), answers (`desk`).

An event is a whole answer, not a change: a client that missed some has missed nothing once it has the newest, so
nothing is queued for slow ones and resuming is sending the newest unless the client has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from serving.api.desk import Desk
from serving.api.problems import ProblemError
from serving.api.questions import Question
from serving.api.telemetry import Telemetry
from serving.api.versions import Versions

INTERVAL = 0.25
"""Seconds between two looks at the store's version, and so between two events of a feed, at least."""
MOST_CLIENTS = 2_000
MOST_FEEDS = 200

_log = logging.getLogger(__name__)


class Event(NamedTuple):
    """`id` is the answers' version and a digest of them: whoever has it has this event."""

    id: str
    data: bytes


class Feed:
    """Several metrics asked alike, for all clients that ask so. `questions` makes them for the range as of now."""

    def __init__(self, desk: Desk, questions: Callable[[datetime], Sequence[Question]]) -> None:
        self._desk = desk
        self._questions = questions
        self._renewing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.clients = 0
        self.event: Event | None = None

    def changed(self) -> asyncio.Event:
        """What is set when there is another event than the one there is now."""
        return self._changed

    async def renew(self) -> None:
        """Ask the questions. Raises ProblemError."""
        asked = self._questions(datetime.now(UTC))
        answered = await asyncio.gather(*(self._desk.metric(question) for question in asked))
        pairs = zip(asked, answered, strict=True)
        data = b"{" + b",".join(b'"%s":%s' % (q.query.metric.encode(), a.body) for q, a in pairs) + b"}"
        if self.event is not None and self.event.data == data:
            return
        version = max(each.version for each in answered)
        self.event = Event(f"{version}-{hashlib.sha256(data).hexdigest()[:12]}", data)
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    def renew_soon(self) -> None:
        """Renew in the background, unless that is at work."""
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._try_to_renew())

    def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()

    async def _try_to_renew(self) -> None:
        try:
            await self.renew()
        except ProblemError as error:  # clients keep what they have; the next look tries again
            _log.warning("a live feed was not renewed: %s", error)


class Hub:
    """All feeds of a process. One look at the store's version serves them all."""

    def __init__(self, desk: Desk, versions: Versions, telemetry: Telemetry) -> None:
        self._desk = desk
        self._versions = versions
        self._telemetry = telemetry
        self._feeds: dict[str, Feed] = {}
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def subscribe(self, key: str, questions: Callable[[datetime], Sequence[Question]]) -> AsyncIterator[Feed]:
        """The feed under `key`, which must name the workspace, with its first event. Raises ProblemError."""
        feed = self._feeds.get(key)
        if self._telemetry.live_clients >= MOST_CLIENTS or (feed is None and len(self._feeds) >= MOST_FEEDS):
            raise ProblemError("busy", f"{self._telemetry.live_clients} clients are live already", retry_after=10)
        if feed is None:
            feed = self._feeds[key] = Feed(self._desk, questions)
        feed.clients += 1
        self._telemetry.live_clients += 1
        try:
            if feed.event is None:
                await feed.renew()
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            yield feed
        finally:
            self._telemetry.live_clients -= 1
            feed.clients -= 1
            if not feed.clients:
                feed.close()
                del self._feeds[key]

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        """Renew the feeds as the store moves. A range left open moves with the clock: its feed is renewed either way,
        which costs nothing while the cache has the answers."""
        while self._feeds:
            await asyncio.sleep(INTERVAL)
            try:
                await self._versions.ask()
            except ProblemError as error:
                _log.warning("live feeds wait: %s", error)
                continue
            for feed in self._feeds.values():
                feed.renew_soon()
