"""Is the process alive, and can it answer? For supervisors, without a key, telling nothing of anyone's data."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from serving.api.problems import ProblemError
from serving.api.state import ApiState

router = APIRouter(include_in_schema=False, default_response_class=Response)


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return Response(orjson.dumps({"status": "ok"}), media_type="application/json")


@router.get("/readyz")
async def readyz(api: ApiState) -> Response:
    """ClickHouse answers. The cache may be away: answers are computed then."""
    answer = await api.stores.ask(lambda client: client.command("SELECT 1"))
    if answer != 1:
        raise ProblemError("unavailable", f"ClickHouse answers {answer!r} to SELECT 1", retry_after=2)
    return Response(orjson.dumps({"status": "ready"}), media_type="application/json")


@router.get("/metrics")
async def metrics(api: ApiState) -> Response:
    """Numbers of this process, for Prometheus."""
    return PlainTextResponse(api.telemetry.render(), media_type="text/plain; version=0.0.4")
