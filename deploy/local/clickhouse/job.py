"""One statement on its way through the engine: connection, threads, answer.

Belongs here: what runs in which thread, what is undone afterwards, what a vanished client stops. Does not belong here:
routes and grammar.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from deploy.local.clickhouse.access import check_functions
from deploy.local.clickhouse.body import Body
from deploy.local.clickhouse.engine import MARKER, SERVER_DEFAULTS, Connection, Engine, Statistics
from deploy.local.clickhouse.errors import QueryError, refuse
from deploy.local.clickhouse.gate import Session
from deploy.local.clickhouse.reply import Pipe, Reply
from deploy.local.clickhouse.request import Request
from deploy.local.clickhouse.statement import Statement, rename_identifier

T = TypeVar("T")

INSERT_CHUNK: Final = 1 << 20


class Workers:
    """The threads in which the engine is called: one per slot, and a few for KILL."""

    def __init__(self, engine: Engine, slots: int) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(slots + 4, thread_name_prefix="engine")

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    def close(self) -> None:
        self._threads.shutdown(wait=True)


@dataclass
class Job:
    """Runs one statement and answers it."""

    workers: Workers
    request: Request
    statement: Statement
    session: Session | None
    body: Body
    reply: Reply

    async def run_small(self) -> None:
        """Anything with a small answer: DDL, SHOW, SET, KILL, INSERT … SELECT."""
        body, statistics = await self.workers.call(self._small)
        fmt = self.statement.format or self.request.default_format
        await self.reply.whole(body, statistics, fmt if body else None)

    async def run_read(self) -> None:
        """A SELECT; the answer streams, and stops with its reader."""
        pipe = Pipe()
        work = asyncio.ensure_future(self.workers.call(self._read, pipe.writing))
        watch = asyncio.create_task(self._kill_when_gone(work))
        try:
            await self.reply.stream(pipe, work, self.statement.format or self.request.default_format)
        finally:
            pipe.close()
            watch.cancel()
            if not work.done():  # nobody reads the rest
                await self.workers.call(self.workers.engine.kill, self.request.query_id)
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # answered already, or nobody is left to answer

    async def run_insert(self, data: bytes) -> None:
        """An INSERT with data, which goes to the engine as it arrives."""
        if self.request.read_only:
            sentence = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly"
            raise refuse("READONLY", f"{sentence}: use POST")
        if self.statement.format == "Values":
            data += await self._checked_values(data)
        call = self.workers.call
        connection, before = await call(self._open)
        try:
            if self.request.params:
                # A streamed INSERT takes no parameters of its own.
                await call(connection.set, {f"param_{name}": value for name, value in self.request.params.items()})
            insert = await call(connection.begin_insert, self.statement)
            appending: asyncio.Future[None] | None = None
            try:
                while data or not self.body.ended:
                    # The next chunk is read while the engine takes the one before: two in memory, never more.
                    if len(data) < INSERT_CHUNK and not self.body.ended:
                        data += await self.body.at_least(INSERT_CHUNK - len(data))
                    if appending is not None:
                        await appending
                    appending = asyncio.ensure_future(call(insert.append, data)) if data else None
                    data = b""
                if appending is not None:
                    await appending
                statistics = await call(insert.finish)
            except BaseException:
                if appending is not None:
                    await asyncio.wait([appending])
                    appending.exception()
                await call(insert.cancel)
                raise
        finally:
            await call(self._close, connection, before)
        await self.reply.whole(b"", statistics, None)

    async def _checked_values(self, data: bytes) -> bytes:
        """Return more of the data. VALUES may be expressions: what one look cannot check is read as literals only."""
        more = b"" if self.body.ended else await self.body.at_least(INSERT_CHUNK)
        if self.body.ended:
            check_functions((data + more).decode("latin-1"))
        else:
            self.request.settings["input_format_values_interpret_expressions"] = "0"
        return more

    async def _kill_when_gone(self, work: asyncio.Future[Statistics]) -> None:
        await self.body.wait_until_gone()
        while not work.done():  # it may not have reached the engine yet
            await self.workers.call(self.workers.engine.kill, self.request.query_id)
            await asyncio.wait([work], timeout=0.2)

    # What follows blocks and runs in a thread.

    def _open(self) -> tuple[Connection, dict[str, str | None]]:
        """A configured connection, and the settings that a session must get back afterwards."""
        request, session = self.request, self.session
        connection = session.connection if session else None
        before: dict[str, str | None] = {}
        wanted = {MARKER: request.query_id, **request.settings}
        if request.database:
            wanted["database"] = request.database
        if connection is None:
            connection = self.workers.engine.connect()
            if session:
                connection.set(SERVER_DEFAULTS)
                session.connection = connection
            else:
                wanted = {**SERVER_DEFAULTS, **wanted}
        try:
            if session:
                before = connection.read_settings([*wanted])
            elif request.read_only:  # a session could not leave read-only mode again, so it never enters it
                wanted["readonly"] = "2"
            connection.set(wanted)
            for table in request.external:
                columns = f"CREATE TEMPORARY TABLE {table.name} ({table.structure})"
                connection.run(columns.encode("utf-8", "surrogateescape"))
                insert = connection.begin_insert(Statement("insert", f"INSERT INTO {table.name}", table.format))
                insert.append(table.data)
                insert.finish()
        except QueryError:
            self._close(connection, before)
            raise
        return connection, before

    def _close(self, connection: Connection, before: dict[str, str | None]) -> None:
        if self.session is None:
            connection.close()
        elif before:
            connection.restore(before)

    def _small(self) -> tuple[bytes, Statistics]:
        connection, before = self._open()
        try:
            sql = self.statement.sql
            if self.statement.kind == "kill":
                sql = rename_identifier(sql, "query_id", f"Settings['{MARKER}']")
            return connection.run(sql.encode("latin-1"), self.request.default_format, self.request.params)
        finally:
            self._close(connection, before)

    def _read(self, descriptor: int) -> Statistics:
        try:
            connection, before = self._open()
        except BaseException:
            os.close(descriptor)
            raise
        try:
            return connection.pour(self.statement, self.request.default_format, descriptor, self.request.params)
        finally:
            self._close(connection, before)
