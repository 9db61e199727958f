"""ClickHouse's HTTP interface as an ASGI application.

Belongs here: routes, and the life of one request from bytes to answer. Does not belong here: chdb (`engine`), grammar
(`statement`), running a statement (`job`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from deploy.local.clickhouse.access import check_functions
from deploy.local.clickhouse.body import Body, ClientGoneError
from deploy.local.clickhouse.engine import Engine
from deploy.local.clickhouse.errors import QueryError, from_engine, refuse
from deploy.local.clickhouse.gate import Gate, Sessions
from deploy.local.clickhouse.job import Job, Workers
from deploy.local.clickhouse.reply import Reply
from deploy.local.clickhouse.request import Request, check_password, read_request, take_form
from deploy.local.clickhouse.statement import Statement, parse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger(__name__)

HEAD: Final = 64 << 10
MAX_STATEMENT: Final = 16 << 20
MAX_FORM: Final = 64 << 20
_NO_HANDLE = "There is no handle {path}\n\nUse / or /ping for health checks.\nSend queries to /?query=\n"


class Application:
    """Serves one engine. `slots` statements run at once, `queue` wait."""

    def __init__(self, engine: Engine, *, slots: int, queue: int, password: str) -> None:
        self._engine = engine
        self._gate = Gate(slots, queue)
        self._sessions = Sessions()
        self._password = password
        self._workers = Workers(engine, slots)
        self._running: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = scope["path"], scope["method"]
        reply = Reply(send, self._engine, head_only=method == "HEAD")
        if path in {"/ping", "/replicas_status"}:
            await reply.text(200, "Ok.\n")
        elif path != "/":
            await reply.text(404, _NO_HANDLE.format(path=path))
        elif method not in {"GET", "HEAD", "POST", "PUT"}:
            await reply.text(405, f"Method {method} is not served: use GET or POST\n")
        else:
            await self._serve(method, scope["query_string"], Body(receive, headers), reply)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._engine.kill_all()  # what is left after the drain
                self._workers.close()
                self._sessions.expire(everything=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, method: str, query_string: bytes, body: Body, reply: Reply) -> None:
        try:
            request = read_request(method, query_string, body.headers)
            reply.request = request
            check_password(request, self._password)
            await self._answer(request, body, reply)
        except ClientGoneError:
            log.debug("the client went away")
        except QueryError as error:
            await reply.fail(error)
        except Exception as error:  # a fault of ours must still reach the client as an answer
            log.exception("request failed")
            await reply.fail(from_engine(error))

    async def _answer(self, request: Request, body: Body, reply: Reply) -> None:
        content_type = request.headers.get("content-type", "")
        if content_type.startswith("multipart/form-data"):
            take_form(request, content_type, await body.everything(MAX_FORM))
        statement, data = await self._statement(request, body)
        if not statement.sql.strip():
            if request.read_only:
                await reply.text(200, "Ok.\n")
                return
            raise refuse("SYNTAX_ERROR", "Syntax error: the query is empty")
        if statement.kind == "input":
            sentence = "INSERT … SELECT … FROM input() is not served by the local process: insert into a table first"
            raise refuse("NOT_IMPLEMENTED", sentence)
        if statement.several:
            raise refuse("SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        if statement.writes_file:
            raise refuse("INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE and FROM INFILE are not allowed over HTTP")
        check_functions(statement.sql)
        if request.query_id in self._running:
            sentence = f"Query with id = {request.query_id} is already running"
            raise refuse("QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", sentence)
        self._running.add(request.query_id)
        try:
            async with self._sessions.use(request) as session:
                job = Job(self._workers, request, statement, session, body, reply)
                if statement.kind == "kill":  # never waits behind what it is to stop
                    await job.run_small()
                    return
                async with self._gate.slot():
                    if statement.kind == "insert":
                        await job.run_insert(data)
                    elif statement.kind == "read":
                        await job.run_read()
                    else:
                        await job.run_small()
        finally:
            self._running.discard(request.query_id)

    async def _statement(self, request: Request, body: Body) -> tuple[Statement, bytes]:
        """The statement, and as much of its data as was read with it. URL query and body are one text."""
        prefix = f"{request.query}\n" if request.query else ""
        head = await body.at_least(HEAD)
        statement = parse(text := prefix + head.decode("latin-1"))
        while statement.kind != "insert" and not body.ended:
            head += await body.at_least(max(HEAD, len(head)))
            if len(head) > MAX_STATEMENT:
                raise refuse("QUERY_IS_TOO_LARGE", f"The statement is longer than {MAX_STATEMENT} bytes")
            statement = parse(text := prefix + head.decode("latin-1"))
        data = text[statement.data_at :].encode("latin-1") if statement.data_at is not None else b""
        return statement, data
