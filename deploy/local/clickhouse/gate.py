"""Who may run now: a bounded queue in front of the engine, and sessions.

Belongs here: slots, waiting, session locks and time-outs. Does not belong here: running anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deploy.local.clickhouse.engine import Connection
from deploy.local.clickhouse.errors import refuse
from deploy.local.clickhouse.request import Request


class Gate:
    """`slots` statements run, `queue` more wait, the next is refused."""

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._limit = slots
        self._queue = queue
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self._waiting >= self._queue:
            raise refuse(
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                f"Too many simultaneous queries: {self._limit} are running and {self._waiting} are waiting",
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


@dataclass
class Session:
    """A connection that outlives its request: temporary tables and SET stay."""

    connection: Connection | None = None
    busy: bool = False
    expires: float = 0.0


class Sessions:
    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Session] = {}

    @asynccontextmanager
    async def use(self, request: Request) -> AsyncIterator[Session | None]:
        """The request's session, locked; None where it names none."""
        if not request.session_id:
            yield None
            return
        timeout = request.session_timeout
        self.expire()
        key = (request.headers.get("x-clickhouse-user") or request.transport.get("user", ""), request.session_id)
        session = self._open.get(key)
        if session is None:
            if request.flag("session_check"):
                raise refuse("SESSION_NOT_FOUND", f"Session {request.session_id} not found")
            session = self._open[key] = Session()
        if session.busy:
            raise refuse("SESSION_IS_LOCKED", f"Session {request.session_id} is locked by a concurrent client")
        session.busy = True
        try:
            yield session
        finally:
            session.busy = False
            session.expires = time.monotonic() + timeout

    def expire(self, *, everything: bool = False) -> None:
        """Close sessions that nobody asked for in time."""
        now = time.monotonic()
        for key, session in list(self._open.items()):
            if everything or (not session.busy and session.expires < now):
                del self._open[key]
                if session.connection is not None:
                    session.connection.close()
