"""Metrics, explanations and boards by REST.

Belongs here: parameters, headers, 304. Does not belong here: their meaning (`questions`), answers (`desk`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from contracts.trend_boards import ALL_NETWORKS, BoardId
from serving.api.answers import catalogue_document, conditional
from serving.api.documents import Board, CatalogueEntry, Explained, MetricDocument, ProblemDocument
from serving.api.problems import MEDIA_TYPE
from serving.api.questions import Parameters, read_explained, read_question, read_time
from serving.api.state import Analyst, ApiState, Reader
from serving.timeline import zone

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}}}
    for status, text in (
        (400, "A parameter is wrong; the document names it"),
        (401, "No key, or one that is not good"),
        (403, "The key may not do that"),
        (404, "There is no such thing"),
        (429, "Too many requests; see Retry-After"),
        (503, "A store does not answer; see Retry-After"),
    )
}

router = APIRouter(prefix="/v1", responses=REFUSALS, default_response_class=Response)

MetricId = Annotated[str, Path(alias="id", description="Id of a metric; GET /v1/metrics lists them")]
By = Annotated[list[str], Query(description="Group by this dimension; repeatable")]
Where = Annotated[list[str], Query(description="DIMENSION=VALUE; repeatable, several values of one are alternatives")]
Start = Annotated[str | None, Query(alias="from", description="Start, inclusive (default: by the grain)")]
End = Annotated[str | None, Query(alias="to", description="End, exclusive (default: end of the bucket now in)")]
Grain = Annotated[str, Query(description="minute, hour, day, week, month or total")]
Zone = Annotated[str, Query(description="IANA zone of buckets, and of times without an offset")]
AsOf = Annotated[str | None, Query(description="Answer from what was known then")]
MinVersion = Annotated[
    int,
    Header(
        alias="Tally-Min-Version",
        ge=0,
        description="The Tally-Version of an answer you have: no older one is given, by whichever replica",
    ),
]
IfNoneMatch = Annotated[str | None, Header(description="ETags that are known already: answered with 304")]


@router.get("/metrics", responses={200: {"model": list[CatalogueEntry]}})
async def list_metrics(_caller: Reader, if_none_match: IfNoneMatch = None) -> Response:
    """Every metric of the catalogue: formula, unit, how it adds up, what it can be grouped by."""
    return conditional(orjson.dumps(catalogue_document()), if_none_match)


@router.get("/metrics/{id}", responses={200: {"model": MetricDocument}, 304: {"description": "Not modified"}})
async def get_metric(
    caller: Reader,
    api: ApiState,
    request: Request,
    metric: MetricId,
    *,
    start: Start = None,
    end: End = None,
    grain: Grain = "hour",
    tz: Zone = "UTC",
    by: By = [],  # noqa: B006 # FastAPI copies it
    where: Where = [],  # noqa: B006 # likewise
    as_of: AsOf = None,
    limit: Annotated[int | None, Query(description="Rows; of a grouped answer those of a page (default 1,000)")] = None,
    order: Annotated[str, Query(description="bucket, value or -value (largest first)")] = "bucket",
    cursor: Annotated[str | None, Query(description="Next page: `rel=next` of the header Link")] = None,
    least: MinVersion = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A metric by buckets and groups. The same question over the same data has the same bytes and ETag.

    More rows than a page: the header `Link` names the next one; all pages are as of one instant.
    """
    given = Parameters(start, end, grain, tz, by, where, as_of, limit, order, cursor)
    question = read_question(metric, caller.workspace, given, datetime.now(UTC))
    if start and end:
        api.hot.remember(caller.workspace, request.scope, question)
    answered = await api.desk.metric(question, least)
    response = conditional(answered.body, if_none_match, answered)
    if answered.next_cursor:
        following = request.url.include_query_params(cursor=answered.next_cursor)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return response


@router.get("/metrics/{id}/explain", responses={200: {"model": Explained}})
async def explain_metric(
    caller: Analyst,
    api: ApiState,
    metric: MetricId,
    *,
    at: Annotated[str, Query(description="An instant in the bucket that is explained")],
    grain: Grain = "hour",
    tz: Zone = "UTC",
    where: Where = [],  # noqa: B006 # FastAPI copies it
    as_of: AsOf = None,
    least: MinVersion = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One number down to its formula, SQL, builds, log offsets, archive parts and restatements."""
    moment = read_time("at", at, zone(tz))
    given = Parameters(grain=grain, tz=tz, where=where, as_of=as_of)
    question = read_explained(metric, caller.workspace, given, moment, datetime.now(UTC))
    answered = await api.desk.explain(question, moment, least)
    return conditional(answered.body, if_none_match, answered)


@router.get("/trends", responses={200: {"model": Board}})
async def get_trends(
    caller: Reader,
    api: ApiState,
    *,
    window: Annotated[Literal["1m", "5m", "15m"], Query(description="1m sees first, 15m lasts")] = "5m",
    kind: Annotated[Literal["hashtag", "emoji", "link", "object"], Query(description="What trends")] = "hashtag",
    network: Annotated[str, Query(description="One network; all: every one together", max_length=200)] = ALL_NETWORKS,
    as_of: AsOf = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What is trending, now or as of an instant."""
    board = BoardId(caller.workspace, network, window, kind)
    moment = read_time("as_of", as_of, zone("UTC")) if as_of else None
    answered = await api.desk.board(board, moment, limit)
    return conditional(answered.body, if_none_match)
