"""The application: routes together, refusals, headers.

Belongs here: wiring, and what every answer has in common. Does not belong here: a route's own work (`routes_*`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from resources.clickhouse import Client
from serving.access.store import AccessStore
from serving.api import routes_graphql, routes_keys, routes_live, routes_metrics, routes_system
from serving.api.cache import AnswerCache
from serving.api.callers import Callers
from serving.api.config import ApiConfig
from serving.api.desk import Desk
from serving.api.hot import HotPath, HotQuestions
from serving.api.live import Hub
from serving.api.problems import ProblemError, of_query_error, shown
from serving.api.state import Api
from serving.api.stores import Stores
from serving.api.telemetry import Observed, Telemetry
from serving.api.versions import Versions
from serving.errors import QueryError

_log = logging.getLogger(__name__)

DESCRIPTION = """
Metrics of social networks that say how far they can be trusted. Every answer has `as_of`, `complete_through` and, per
bucket, `complete`. Ranges are half-open, `[from, to)`. Send an API key as `Authorization: Bearer KEY`; it sees its own
workspace only. Refusals are RFC 9457 problem documents that name the parameter and the value.
"""


def build_app(config: ApiConfig, open_client: Callable[[str], Client] | None = None) -> FastAPI:
    """Return the application. Nothing is opened before the first request, so it starts while stores are away.

    `open_client` opens ClickHouse in a way of one's own.
    """
    stores = Stores(config.clickhouse_url, config.cache_url, open_client)
    access = AccessStore(config.access_url)
    telemetry = Telemetry()
    versions = Versions(stores, telemetry, config.live_staleness)
    cache = AnswerCache(stores, versions, telemetry, config)
    callers = Callers(access, config.requests_per_second)
    desk = Desk(stores, cache)
    hub = Hub(desk, versions, telemetry)
    hot = HotQuestions()
    api = Api(config, stores, access, callers, desk, hub, hot, telemetry)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        versions.start()
        try:
            yield
        finally:
            await hub.close()
            await versions.close()
            stores.close()
            access.close()

    app = FastAPI(
        title="Tally", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.api = api
    app.add_middleware(HotPath, hot=hot, callers=callers, desk=desk)
    app.add_middleware(Observed, telemetry=telemetry)
    for module in (routes_metrics, routes_live, routes_graphql, routes_keys, routes_system):
        app.include_router(module.router)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(QueryError, _query_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 # registered for this class
    return error.response()


async def _query_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, QueryError)  # noqa: S101 # registered for this class
    return of_query_error(error).response()


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 # registered for this class
    first = error.errors()[0]
    name = str(first["loc"][-1])
    given = first.get("input")
    value = given if isinstance(given, str) else None
    return ProblemError("bad-parameter", f"{name}: {first['msg']}", parameter=name, value=value).response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 # registered for this class
    if error.status_code == 405:
        response = ProblemError("method-not-allowed", f"{request.method[:20]} is not possible here").response()
        response.headers.update(error.headers or {})
        return response
    if error.status_code == 404:
        return ProblemError("not-found", f"there is nothing at {shown(request.url.path)!r}").response()
    return ProblemError("bad-parameter", str(error.detail)).response()


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return ProblemError("internal", "this is an error of ours; it has been logged").response()
