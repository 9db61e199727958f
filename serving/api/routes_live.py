"""Live updates by Server-Sent Events.

Belongs here: parameters, the event stream's bytes, heartbeats, letting go of slow clients. Does not belong here: what
is sent and when (`live`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.api.live import Feed
from serving.api.problems import ProblemError
from serving.api.questions import Parameters, Question, read_question
from serving.api.routes_metrics import REFUSALS, By, End, Grain, Start, Where, Zone
from serving.api.state import Api, ApiState, Reader

MOST_METRICS = 20
HEARTBEAT_SECONDS = 15.0
SLOW_SECONDS = 20.0
"""A client that takes nothing for this long is let go."""

router = APIRouter(prefix="/v1", responses=REFUSALS, default_response_class=Response)


@router.get("/live", responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})
async def get_live(
    caller: Reader,
    api: ApiState,
    request: Request,
    *,
    metric: Annotated[list[str], Query(description="Id of a metric; repeatable")],
    start: Start = None,
    end: End = None,
    grain: Grain = "hour",
    tz: Zone = "UTC",
    by: By = [],  # noqa: B006 # FastAPI copies it
    where: Where = [],  # noqa: B006 # likewise
    limit: Annotated[int | None, Query(description="Rows of each metric")] = None,
    order: Annotated[str, Query(description="bucket, value or -value (largest first)")] = "bucket",
    last_event_id: Annotated[str | None, Header(description="The event you have: it is not sent again")] = None,
) -> Response:
    """Answers as the data move, by Server-Sent Events: one event holds every metric's whole answer, by its id.

    At most four events a second. Reconnect with `Last-Event-ID`: the newest event is sent unless that was it.
    """
    if len(metric) > MOST_METRICS:
        raise ProblemError("too-large", f"{len(metric)} metrics, at most {MOST_METRICS}", parameter="metric")
    given = Parameters(start, end, grain, tz, by, where, None, limit, order)
    names = list(dict.fromkeys(metric))

    def questions(now: datetime) -> Sequence[Question]:
        return [read_question(name, caller.workspace, given, now) for name in names]

    questions(datetime.now(UTC))  # refused before anything is kept for it
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(api.hub.subscribe(repr((caller.workspace, names, given)), questions))
        # From here on the response ends the subscription.
        return _Stream(api, request, feed, last_event_id, stack.pop_all())


class _Stream(Response):
    """An event stream that goes on until the client, its key or the process ends."""

    media_type = "text/event-stream"

    def __init__(
        self, api: Api, request: Request, feed: Feed, last_event_id: str | None, subscription: AsyncExitStack
    ) -> None:
        super().__init__(None, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._api = api
        self._authorization = request.headers.get("authorization", "")
        self._feed = feed
        self._last = last_event_id
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._subscription:
            gone = asyncio.create_task(_gone(receive))
            telling = asyncio.create_task(self._tell(send))
            try:
                await asyncio.wait({gone, telling}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                telling.cancel()
                _, ended = await asyncio.gather(gone, telling, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
                raise ended

    async def _tell(self, send: Send) -> None:
        async def push(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(SLOW_SECONDS):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await push(b"retry: 1000\n\n")
        checked = asyncio.get_running_loop().time()
        while True:
            changed, event = self._feed.changed(), self._feed.event
            if event is not None and event.id != self._last:
                await push(b"id: %s\ndata: %s\n\n" % (event.id.encode(), event.data))
                self._last = event.id
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await changed.wait()
            except TimeoutError:
                await push(b": alive\n\n")
            now = asyncio.get_running_loop().time()
            if now - checked >= HEARTBEAT_SECONDS:
                checked = now
                try:
                    await self._api.callers.recognise(self._authorization)
                except ProblemError as problem:
                    if problem.status == 401:  # expired or revoked meanwhile
                        await push(b"", more=False)
                        return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
