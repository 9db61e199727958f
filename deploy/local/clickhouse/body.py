"""A request body as it arrives, decoded.

Belongs here: chunks, Content-Encoding, noticing that the client went away. Does not belong here: what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from deploy.local.clickhouse.encoding import Decompression
from deploy.local.clickhouse.errors import refuse


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class Body:
    """Pulls the body only as fast as it is asked for: the socket holds the rest back."""

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], headers: Mapping[str, str]) -> None:
        self._receive = receive
        self.headers = headers
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._decoder: Decompression | None = None
        self.ended = False

    async def chunk(self) -> bytes:
        """The next piece, decoded; may be empty. Raises ClientGoneError."""
        if self._decoder is None and self._encoding not in {"", "identity"}:
            self._decoder = Decompression(self._encoding)
        message = await self._receive()
        if message["type"] != "http.request":
            self.ended = True
            raise ClientGoneError
        self.ended = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        if self._decoder is not None:
            data = self._decoder.feed(data)
            if self.ended:
                self._decoder.finish()
        return data

    async def at_least(self, size: int) -> bytes:
        """`size` bytes or a little more; less only where the body ends."""
        parts, length = [], 0
        while length < size and not self.ended:
            parts.append(await self.chunk())
            length += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def everything(self, limit: int) -> bytes:
        data = await self.at_least(limit + 1)
        if len(data) > limit:
            raise refuse("QUERY_IS_TOO_LARGE", f"The form is longer than {limit} bytes")
        return data

    async def wait_until_gone(self) -> None:
        """Return when the client has closed the connection. Only after the body has ended."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
