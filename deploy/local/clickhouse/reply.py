"""The response: whole or streamed, plain or compressed, with ClickHouse's headers.

Belongs here: status, headers, buffering, the frame that carries an error after the first byte. Does not belong here:
running anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict
from typing import Any, Final

from deploy.local.clickhouse.encoding import Encoder, choose_encoding, make_encoder
from deploy.local.clickhouse.engine import Engine, Statistics
from deploy.local.clickhouse.errors import QueryError
from deploy.local.clickhouse.request import Request

BUFFER: Final = 1 << 20
"""A result up to this size travels whole, with its length and its true summary."""
SPOOL: Final = 16 << 20
"""With wait_end_of_query=1 a result is held back until it is complete: in memory up to here, then in a file."""
PATIENCE: Final = 300
"""Seconds that a client may leave a piece of the answer unread before its query is stopped and its slot freed."""
_PIPE_SIZE: Final = 1 << 20

_CONTENT_TYPES: Final = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Arrow": "application/octet-stream",
}


class Pipe:
    """Carries the engine's output to the event loop; both sides wait for each other, so memory stays bounded."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        with contextlib.suppress(OSError, AttributeError):  # Linux; elsewhere the pipe keeps its size
            fcntl.fcntl(self._reading, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    async def read(self) -> bytes:
        """What is there; b'' when the engine has closed its side."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._reading, _PIPE_SIZE)
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_reader(self._reading, _wake, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(self._reading)

    def close(self) -> None:
        """Close the reading side: an engine that still writes gets an error and stops."""
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Reply:
    """Answers one request, once."""

    def __init__(
        self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]], engine: Engine, *, head_only: bool
    ) -> None:
        self._send = send
        self._engine = engine
        self._head_only = head_only
        self._started = False
        self._tag = ""
        self._encoder: Encoder | None = None
        self.request = Request("GET", "", "", {})

    async def text(self, status: int, text: str) -> None:
        await self._start(
            status, {"content-type": "text/plain; charset=UTF-8", "content-length": str(len(text.encode()))}
        )
        await self._finish(text.encode())

    async def fail(self, error: QueryError) -> None:
        """The error as the whole answer, or as a frame at the end of one that has begun."""
        text = f"{error.text} (version {self._engine.version})\n".encode("utf-8", "surrogateescape")
        if not self._started:
            headers = {
                "content-type": "text/plain; charset=UTF-8",
                "x-clickhouse-exception-code": str(error.code),
                "content-length": str(len(text)),
            }
            if error.status == 401:
                headers["www-authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            await self._start(error.status, headers)
            await self._finish(text)
            return
        tag = self._tag.encode()
        frame = b"\r\n__exception__\r\n" + tag + b"\r\n" + text + b"%d " % len(text) + tag + b"\r\n__exception__\r\n"
        await self._send({"type": "http.response.body", "body": self._encode(frame) + self._flush(), "more_body": True})
        # No last chunk follows: the client must see that the answer broke off.

    async def whole(self, body: bytes, statistics: Statistics, fmt: str | None) -> None:
        headers = self._result_headers(fmt)
        headers["x-clickhouse-summary"] = summary(statistics)
        data = self._encode(body) + self._flush() if body else b""
        headers["content-length"] = str(len(data))
        await self._start(200, headers)
        await self._finish(data)

    async def stream(self, pipe: Pipe, work: asyncio.Future[Statistics], fmt: str) -> None:
        """Send what comes through the pipe; raises QueryError where the query failed."""
        wait = self.request.flag("wait_end_of_query")
        limit = SPOOL if wait else min(BUFFER, int(self.request.transport.get("buffer_size") or BUFFER))
        held, size = [], 0
        while data := await pipe.read():
            held.append(data)
            size += len(data)
            if size > limit:
                break
        else:
            await self.whole(b"".join(held), await work, fmt)
            return
        if wait:
            await self._from_file(held, pipe, work, fmt)
            return
        await self._begin_stream(fmt)
        for data in held:
            await self._part(data)
        held.clear()
        while data := await pipe.read():
            await self._part(data)
        await work
        await self._finish(self._flush())

    async def _from_file(self, held: list[bytes], pipe: Pipe, work: asyncio.Future[Statistics], fmt: str) -> None:
        with tempfile.TemporaryFile() as spool:
            for data in held:
                spool.write(data)
            held.clear()
            while data := await pipe.read():
                spool.write(data)
            statistics = await work
            spool.seek(0)
            await self._begin_stream(fmt, statistics)
            while data := spool.read(BUFFER):
                await self._part(data)
        await self._finish(self._flush())

    async def _begin_stream(self, fmt: str, statistics: Statistics | None = None) -> None:
        headers = self._result_headers(fmt)
        self._tag = secrets.token_hex(8)
        headers["x-clickhouse-exception-tag"] = self._tag
        headers["x-clickhouse-summary"] = summary(statistics or Statistics())
        await self._start(200, headers)

    def _result_headers(self, fmt: str | None) -> dict[str, str]:
        headers = {"content-type": _CONTENT_TYPES.get(fmt or "", "text/plain; charset=UTF-8")}
        if fmt is not None:
            headers["x-clickhouse-format"] = fmt
            wanted = self.request.flag("enable_http_compression")
            name = choose_encoding(self.request.headers.get("accept-encoding", "")) if wanted else None
            if name is not None:
                self._encoder = make_encoder(name)
                headers["content-encoding"] = name
        return headers

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self._started = True
        fixed = {
            "x-clickhouse-server-display-name": self._engine.host_name,
            "x-clickhouse-timezone": self._engine.timezone,
        }
        if self.request.query_id:
            fixed["x-clickhouse-query-id"] = self.request.query_id
        pairs = [(n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in {**fixed, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    def _encode(self, data: bytes) -> bytes:
        return self._encoder.compress(data) if self._encoder is not None else data

    def _flush(self) -> bytes:
        return self._encoder.flush() if self._encoder is not None else b""

    async def _part(self, data: bytes) -> None:
        if body := self._encode(data):
            async with asyncio.timeout(PATIENCE):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self, data: bytes) -> None:
        body = b"" if self._head_only else data
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def summary(statistics: Statistics) -> str:
    """`X-ClickHouse-Summary`: numbers travel as strings."""
    values = {name: str(value) for name, value in asdict(statistics).items()}
    return json.dumps({**values, "total_rows_to_read": "0"})
