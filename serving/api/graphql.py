"""GraphQL over the same desk: resolvers, limits, errors.

Belongs here: the schema's roots, what a request may cost, how refusals look in GraphQL. Does not belong here: types
(`graphql_types`), HTTP (`routes_graphql`).

A request's questions are asked at once; those that are alike are one question to the store. A list of members (a
hundred objects, say) is one question that groups by them, not a hundred.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import strawberry
from graphql import GraphQLError
from graphql.language import FieldNode
from graphql.validation import ASTValidationRule
from strawberry.extensions import AddValidationRules, MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from contracts.trend_boards import ALL_NETWORKS, BoardId
from serving.access.roles import Action
from serving.api.answers import catalogue_document
from serving.api.callers import Caller, require
from serving.api.desk import Desk
from serving.api.graphql_types import (
    Board,
    BoardKind,
    BoardWindow,
    Dimension,
    Explanation,
    Grain,
    Metric,
    MetricAnswer,
    MetricId,
    Order,
    Where,
    answer_of,
    board_of,
    explanation_of,
    metric_of,
)
from serving.api.problems import ProblemError, of_query_error
from serving.api.questions import Parameters, read_explained, read_question, read_time
from serving.errors import QueryError
from serving.timeline import zone

MOST_DEPTH = 8
MOST_ALIASES = 100
MOST_TOKENS = 10_000
MOST_NESTED = 50
MOST_COST = 150
COSTS = {"metric": 1, "trends": 1, "explain": 10}
"""Of one question each, about in statements to the store; fields of an answer cost nothing more."""

_HOUR = Grain("hour")
_HASHTAG = BoardKind("hashtag")
_BRACKETS = re.compile(r"[][(){}]")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, and whom."""

    caller: Caller
    desk: Desk
    least: int


Info = strawberry.Info[Context, None]
Time = str | None


def _metrics() -> list[Metric]:
    return [metric_of(entry) for entry in catalogue_document()]


async def _metric(
    info: Info,
    id: MetricId,
    *,
    start: Annotated[Time, strawberry.argument(name="from", description="Start, inclusive")] = None,
    end: Annotated[Time, strawberry.argument(name="to", description="End, exclusive")] = None,
    grain: Grain = _HOUR,
    tz: str = "UTC",
    by: list[Dimension] = [],  # noqa: B006 # read only
    where: list[Where] = [],  # noqa: B006 # likewise
    as_of: str | None = None,
    limit: int | None = None,
    order: Order = Order.BY_BUCKET,
    cursor: str | None = None,
) -> MetricAnswer:
    context = info.context
    groups = [name.value for name in by]
    given = Parameters(
        start, end, grain.value, tz, groups, _conditions(where), as_of, limit, order.value, cursor
    )  # fmt: skip
    question = read_question(id.value, context.caller.workspace, given, datetime.now(UTC))
    answered = await context.desk.metric(question, context.least)
    return answer_of(orjson.loads(answered.body), answered.version, answered.next_cursor)


async def _explain(
    info: Info,
    id: MetricId,
    *,
    at: str,
    grain: Grain = _HOUR,
    tz: str = "UTC",
    where: list[Where] = [],  # noqa: B006 # read only
    as_of: str | None = None,
) -> Explanation:
    context = info.context
    require(context.caller.role, Action.EXPLAIN)
    moment = read_time("at", at, zone(tz))
    given = Parameters(grain=grain.value, tz=tz, where=_conditions(where), as_of=as_of)
    question = read_explained(id.value, context.caller.workspace, given, moment, datetime.now(UTC))
    answered = await context.desk.explain(question, moment, context.least)
    return explanation_of(orjson.loads(answered.body))


async def _trends(
    info: Info,
    *,
    window: BoardWindow = BoardWindow.FIVE_MINUTES,
    kind: BoardKind = _HASHTAG,
    network: str = ALL_NETWORKS,
    as_of: str | None = None,
    limit: int = 20,
) -> Board:
    context = info.context
    if not 1 <= limit <= 100:
        raise ProblemError("bad-parameter", "limit: must be from 1 to 100", parameter="limit", value=str(limit))
    board = BoardId(context.caller.workspace, network, window.value, kind.value)
    moment = read_time("as_of", as_of, zone("UTC")) if as_of else None
    answered = await context.desk.board(board, moment, limit)
    return board_of(orjson.loads(answered.body))


@strawberry.type
class Query:
    metrics: list[Metric] = strawberry.field(resolver=_metrics, description="Every metric of the catalogue")
    metric: MetricAnswer = strawberry.field(resolver=_metric, description="A metric by buckets and groups")
    explain: Explanation = strawberry.field(resolver=_explain, description="One number, explained; for analysts")
    trends: Board = strawberry.field(resolver=_trends, description="What is trending, now or as of an instant")


class _CostLimit(ASTValidationRule):
    """Refuses a request before anything of it is asked. Fields of fragments count once: spread twice they are one."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._cost = 0

    def enter_field(self, node: FieldNode, *_place: object) -> None:
        before, self._cost = self._cost, self._cost + COSTS.get(node.name.value, 0)
        if before <= MOST_COST < self._cost:
            self.report_error(
                GraphQLError(f"the request costs over {MOST_COST}: explain costs {COSTS['explain']}, others 1", node)
            )


schema = strawberry.Schema(
    Query,
    extensions=[
        lambda: QueryDepthLimiter(MOST_DEPTH),
        lambda: MaxAliasesLimiter(MOST_ALIASES),
        lambda: MaxTokensLimiter(MOST_TOKENS),
        lambda: AddValidationRules([_CostLimit]),
    ],
)


async def execute(query: str, variables: dict[str, Any] | None, operation: str | None, context: Context) -> bytes:
    """Answer a request as JSON: `data`, and `errors` for what was refused, each with the REST problem's document."""
    if _nested(query) > MOST_NESTED:  # a parser that recurses would end before any limit on the parsed query
        error = GraphQLError(f"brackets are nested deeper than {MOST_NESTED}")
        return orjson.dumps({"data": None, "errors": [_told(error)]})
    try:
        done = await schema.execute(query, variables, context, operation_name=operation)
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        text = "mutations and subscriptions are not known here; of several operations, operationName names one"
        return orjson.dumps({"data": None, "errors": [_told(GraphQLError(text))]})
    document: dict[str, Any] = {"data": done.data}
    if done.errors:
        document["errors"] = [_told(error) for error in done.errors]
    return orjson.dumps(document)


def _nested(query: str) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(query):
        depth += 1 if found[0] in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


def _told(error: GraphQLError) -> dict[str, Any]:
    """An error of the GraphQL document as it is, a refusal with its problem document, anything else without details."""
    cause = error.original_error
    if cause is None:
        return dict(error.formatted)
    problem = of_query_error(cause) if isinstance(cause, QueryError) else cause
    if not isinstance(problem, ProblemError):
        _log.error("GraphQL field %s failed", error.path, exc_info=cause)
        problem = ProblemError("internal", "this is an error of ours; it has been logged")
    document = problem.document()
    return {**error.formatted, "message": document["detail"], "extensions": document}


def _conditions(where: list[Where]) -> list[str]:
    return [f"{each.dimension.value}={value}" for each in where for value in each.values]
