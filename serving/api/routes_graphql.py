"""GraphQL over HTTP: `POST /graphql`.

Belongs here: the request's form, statuses. Does not belong here: the schema (`graphql`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from serving.api import graphql
from serving.api.problems import ProblemError
from serving.api.routes_metrics import REFUSALS, MinVersion
from serving.api.state import ApiState, Reader

MOST_BYTES = 256 * 1024

router = APIRouter(responses=REFUSALS, default_response_class=Response)


class GraphQLRequest(BaseModel):
    model_config = ConfigDict(strict=True)

    query: str = Field(min_length=1)
    variables: dict[str, Any] | None = None
    operation_name: str | None = Field(None, alias="operationName")


_REQUEST = {"application/json": {"schema": GraphQLRequest.model_json_schema()}}


class GraphQLAnswer(BaseModel):
    data: dict[str, Any] | None
    errors: list[dict[str, Any]] | None = Field(None, description="Each refusal has its problem document in extensions")


@router.post(
    "/graphql",
    responses={200: {"model": GraphQLAnswer}},
    openapi_extra={"requestBody": {"required": True, "content": _REQUEST}},
)
async def post_graphql(caller: Reader, api: ApiState, request: Request, least: MinVersion = 0) -> Response:
    """Metrics, explanations and boards by GraphQL. 400: nothing of the request could be answered."""
    body = await _body(request)
    try:
        asked = GraphQLRequest.model_validate_json(body)
    except ValueError as error:
        detail = f"the body is no GraphQL request: {_first(error)}"
        raise ProblemError("bad-parameter", detail, parameter="body") from error
    context = graphql.Context(caller, api.desk, least)
    answer = await graphql.execute(asked.query, asked.variables, asked.operation_name, context)
    status = 400 if answer.startswith(b'{"data":null') else 200
    return Response(answer, status, {"Cache-Control": "private, no-store"}, "application/json")


async def _body(request: Request) -> bytes:
    """The body, as far as it is not too large; nothing beyond is kept."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BYTES:
            raise ProblemError("body-too-large", f"the body is larger than {MOST_BYTES:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _first(error: ValueError) -> str:
    found = error.errors() if isinstance(error, ValidationError) else []
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found[:3]) or "not JSON"
