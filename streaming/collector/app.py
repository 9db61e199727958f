"""The collector's HTTP interface.

Belongs here: routes, status codes, headers, the answer's shape. Does not belong here: what a valid event is
(`contracts`), mapping and appending (`streaming.intake`), gathering (`group_commit`).

`POST /v1/events` answers 200 only when every row is durable in the event log, as an event or in quarantine.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from resources.event_log import open_event_log
from resources.event_log.base import EventLog, EventLogError
from resources.raw_store import RawStore, RawStoreError, open_raw_store
from resources.token_bucket import TokenBucket
from streaming.collector.answers import check_choice, error, json_answer, receipt_answer, verdict_answer
from streaming.collector.body import RefusedRequestError, decompress
from streaming.collector.config import CollectorConfig, WriteKey, workspace_of
from streaming.collector.group_commit import GroupCommit
from streaming.collector.health import LogHealth
from streaming.collector.limits import ByteBudget
from streaming.collector.mappings import mapping_for, sent_at
from streaming.collector.metrics import Metrics
from streaming.collector.receipts import look_up
from streaming.collector.rows import split_rows
from streaming.intake import Admission, Submission, new_receipt_id
from streaming.topics import create_topics

_log = logging.getLogger(__name__)

_INLINE_BYTES = 256 * 1024  # smaller bodies are unpacked on the event loop: a thread would cost more
_UNAVAILABLE_RETRY = 1


class Collector:
    """State of one collector process: its log, its limits, its numbers. All of it lives on one event loop."""

    def __init__(self, config: CollectorConfig, event_log: EventLog, raw_store: RawStore | None = None) -> None:
        self._config = config
        self._event_log = event_log
        self._raw_store = raw_store
        self._budget = ByteBudget(config.max_in_flight_bytes)
        self._buckets: dict[bytes, tuple[TokenBucket, TokenBucket]] = {
            key.digest: (
                TokenBucket(config.requests_per_second, config.burst_seconds),
                TokenBucket(config.rows_per_second, config.burst_seconds),
            )
            for key in config.write_keys
        }
        self.metrics = Metrics()
        self._health = LogHealth(event_log, config.max_lag_messages)
        self._groups = GroupCommit(event_log, config.linger, config.max_group_rows, self.metrics.observe_append)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/events", self.post_events, methods=["POST"]),
                Route("/v1/receipts/{receipt_id}", self.get_receipt, methods=["GET"]),
                Route("/healthz", self.healthz, methods=["GET"]),
                Route("/readyz", self.readyz, methods=["GET"]),
                Route("/metrics", self.get_metrics, methods=["GET"]),
            ],
            exception_handlers={404: _not_found, 405: _not_allowed},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._groups.start()
        self._health.start()
        try:
            yield
        finally:
            await self._health.close()
            await self._groups.close()
            await asyncio.to_thread(self._event_log.close)
            if self._raw_store is not None:
                self._raw_store.close()

    # -- events ------------------------------------------------------------------------------------------------------

    async def post_events(self, request: Request) -> Response:
        started = time.perf_counter()
        held = _Held(self._budget)
        try:
            response = await self._take(request, held)
        except RefusedRequestError as problem:
            response = error(problem.status, problem.code, str(problem), retry_after=problem.retry_after)
        except ClientDisconnect:
            response = error(400, "client_disconnected", "the client closed the connection before the body ended")
        finally:
            held.release()
        self.metrics.observe_request(response.status_code, time.perf_counter() - started)
        return response

    async def _take(self, request: Request, held: _Held) -> Response:
        key = self._authorise(request)
        requests, rows_left = self._buckets[key.digest]
        _limit(requests.take(1), "requests", self._config.requests_per_second)
        if self._health.is_reachable and self._health.problem:
            raise RefusedRequestError(429, "lagging", self._health.problem, retry_after=_UNAVAILABLE_RETRY)
        choice = request.query_params.get("verdicts", "")
        check_choice(choice)
        mapping = mapping_for(request, self._config.default_mapping)
        sent = sent_at(request)
        body = await self._read(request, held)
        rows = await self._rows(request, body, held)
        _limit(rows_left.take(len(rows)), "rows", self._config.rows_per_second)
        admission = await self._admit(
            Submission(rows, mapping, key.workspace, datetime.now(UTC), new_receipt_id(), sent_at=sent)
        )
        self.metrics.observe_admission(admission)
        return verdict_answer(admission, choice)

    def _authorise(self, request: Request) -> WriteKey:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-write-key", "")
        if not presented:
            raise RefusedRequestError(
                401, "no_write_key", "send the write key as 'Authorization: Bearer KEY' or 'X-Write-Key: KEY'"
            )
        key = workspace_of(self._config.write_keys, presented)
        if key is None:
            raise RefusedRequestError(401, "unknown_write_key", "the write key is not known here")
        return key

    async def _read(self, request: Request, held: _Held) -> bytes:
        limit = self._config.max_body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise RefusedRequestError(
                413, "body_too_large", f"Content-Length is {declared} bytes, at most {limit} are taken"
            )
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._config.body_timeout):
                async for piece in request.stream():
                    size += len(piece)
                    if size > limit:
                        raise RefusedRequestError(413, "body_too_large", f"the body is larger than {limit} bytes")
                    held.add(len(piece))
                    pieces.append(piece)
        except TimeoutError as timeout:
            raise RefusedRequestError(
                408, "body_timeout", f"only {size} bytes of the body came within {self._config.body_timeout:g} s"
            ) from timeout
        self.metrics.bytes_received += size
        return b"".join(pieces)

    async def _rows(self, request: Request, body: bytes, held: _Held) -> list[bytes]:
        encoding = request.headers.get("content-encoding", "").strip().lower()
        content_type = request.headers.get("content-type", "")

        def unpack() -> list[bytes]:
            decoded = decompress(body, encoding, self._config.max_decoded_bytes)
            return split_rows(decoded, content_type, self._config.max_rows)

        if len(body) <= _INLINE_BYTES and not encoding:
            rows = unpack()
        else:
            rows = await asyncio.to_thread(unpack)
        held.add(sum(map(len, rows)))
        return rows

    async def _admit(self, submission: Submission) -> Admission:
        try:
            async with asyncio.timeout(self._config.append_timeout):
                admission = await self._groups.admit(submission)
        except TimeoutError as timeout:
            raise RefusedRequestError(
                503,
                "log_slow",
                f"the event log did not confirm within {self._config.append_timeout:g} s; send the rows again, those"
                " that were taken become duplicates",
                retry_after=_UNAVAILABLE_RETRY,
            ) from timeout
        except EventLogError as problem:
            _log.warning("append failed: %s", problem)
            self._health.append_failed(str(problem))
            raise RefusedRequestError(
                503,
                "log_unavailable",
                "the event log is not available; nothing is acknowledged, send the rows again",
                retry_after=_UNAVAILABLE_RETRY,
            ) from problem
        self._health.append_succeeded()
        return admission

    # -- the rest ----------------------------------------------------------------------------------------------------

    async def get_receipt(self, request: Request) -> Response:
        try:
            key = self._authorise(request)
        except RefusedRequestError as problem:
            return error(problem.status, problem.code, str(problem))
        if self._raw_store is None:
            return error(501, "no_raw_store", "this collector has no raw store to look receipts up in")
        receipt_id = request.path_params["receipt_id"]
        try:
            receipt = await asyncio.to_thread(look_up, self._event_log, self._raw_store, key.workspace, receipt_id)
        except (RawStoreError, EventLogError) as problem:
            _log.warning("receipt lookup failed: %s", problem)
            what = "event_log" if isinstance(problem, EventLogError) else "raw_store"
            message = f"the {what.replace('_', ' ')} is not available"
            return error(503, f"{what}_unavailable", message, retry_after=_UNAVAILABLE_RETRY)
        if receipt is None:
            return error(404, "unknown_receipt", f"nothing is known here of receipt {receipt_id[:64]!r}")
        return receipt_answer(receipt)

    async def healthz(self, _request: Request) -> Response:
        return json_answer(200, {"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        if self._health.not_ready:
            return error(503, "not_ready", self._health.not_ready, retry_after=_UNAVAILABLE_RETRY)
        return json_answer(200, {"status": "ready", "lag_messages": self._health.lag})

    async def get_metrics(self, _request: Request) -> Response:
        return PlainTextResponse(self.metrics.render(self._budget.used), media_type="text/plain; version=0.0.4")


class _Held:
    """What one request holds of the byte budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    def add(self, amount: int) -> None:
        if not self._budget.reserve(amount):
            raise RefusedRequestError(
                503, "busy", f"requests in flight hold {self._budget.used} bytes, the limit is {self._budget.limit}",
                retry_after=_UNAVAILABLE_RETRY,
            )  # fmt: skip
        self._held += amount

    def release(self) -> None:
        self._budget.release(self._held)
        self._held = 0


def _limit(wait: float, what: str, rate: float) -> None:
    if wait > 0:
        raise RefusedRequestError(
            429, "rate_limited", f"this write key may send {rate:g} {what} per second", retry_after=math.ceil(wait)
        )


async def _not_found(request: Request, _problem: Exception) -> Response:
    return error(404, "not_found", f"there is nothing at {request.url.path[:200]!r}; events go to POST /v1/events")


async def _not_allowed(request: Request, problem: Exception) -> Response:
    response = error(405, "method_not_allowed", f"{request.method[:20]} is not possible here")
    response.headers.update(getattr(problem, "headers", None) or {})
    return response


def build_app(config: CollectorConfig) -> Starlette:
    """Open the stores the configuration names and build the application. Raises EventLogError when topics disagree."""
    event_log = open_event_log(config.event_log_url)
    create_topics(event_log, config.topic_partitions, config.retention_days)
    raw_store = open_raw_store(config.raw_store_url) if config.raw_store_url else None
    return Collector(config, event_log, raw_store).app()
