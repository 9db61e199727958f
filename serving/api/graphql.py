"""GraphQL over the same desk: resolvers, limits, errors.

Belongs here: the schema's roots, what a request may cost, how refusals look in GraphQL. Does not belong here: types
(`graphql_types`), HTTP (`routes_graphql`).

A request's questions are asked at once; those that are alike are one question to the store. A list of members (a
hundred objects, say) is one question that groups by them, not a hundred.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import strawberry
from graphql import GraphQLError
from graphql.language import FieldNode
from graphql.validation import ASTValidationRule
from strawberry.extensions import AddValidationRules, MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext

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
MOST_TOKENS = 4_000
MOST_NESTED = 50
MOST_COST = 150
COSTS = {"metric": 1, "trends": 1, "explain": 10, "metrics": 10}
"""Of one question each, about in time; what is chosen of an answer costs nothing more."""
MOST_ROWS = 2_000
"""Of all answers of a request together: resolving a row's fields takes as long as reading a hundred rows."""

_COSTS_OVER = "the request costs (metrics and explain 10 each, metric and trends 1) over"
_HOUR = Grain("hour")
_HASHTAG = BoardKind("hashtag")
_TEXTS = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*')
_TOKENS = re.compile(r"[A-Za-z_]\w*\s*:|[A-Za-z_]\w*|[][(){}]")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, and whom."""

    caller: Caller
    desk: Desk
    least: int
    rows: list[int] = field(default_factory=list)  # of the answers so far


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
    document = orjson.loads(answered.body)
    context.rows.append(len(document["rows"]))
    if sum(context.rows) > MOST_ROWS:
        detail = f"the answers have more than {MOST_ROWS:,} rows together: give a limit, or ask by REST"
        raise ProblemError("too-large", detail, parameter="limit")
    return answer_of(document, answered.version, answered.next_cursor)


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
            self.report_error(GraphQLError(f"{_COSTS_OVER} {MOST_COST}", node))


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """What a client did wrong is told to the client, not to the log; `_told` logs what we did wrong."""


schema = _Schema(
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
    if refusal := _too_much(query):
        return orjson.dumps({"data": None, "errors": [_told(GraphQLError(refusal))]})
    try:
        done = await schema.execute(query, variables, context, operation_name=operation)
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        text = "mutations and subscriptions are not known here; of several operations, operationName names one"
        return orjson.dumps({"data": None, "errors": [_told(GraphQLError(text))]})
    document: dict[str, Any] = {"data": done.data}
    if done.errors:
        document["errors"] = [_told(error) for error in done.errors]
    return orjson.dumps(document)


def _too_much(query: str) -> str:
    """What a request plainly asks too much of, read off its tokens; '' if nothing.

    Parsing and validating a bomb takes a tenth of a second, and a parser that recurses ends before any limit on what
    it has parsed. What fragments hide from this is found by the limits on the parsed request.
    """
    nested = arguments = depth = aliases = cost = count = deepest = most_nested = 0
    for piece in _TOKENS.findall(_TEXTS.sub("", query)):
        count += 1
        if piece in "([{":
            nested += 1
            arguments += piece == "("
            depth += piece == "{" and not arguments
        elif piece in ")]}":
            nested -= 1
            depth -= piece == "}" and not arguments
            arguments -= piece == ")"
        elif not arguments:
            aliases += piece.endswith(":")
            cost += COSTS.get(piece, 0)
        deepest, most_nested = max(deepest, depth), max(most_nested, nested)
    limits = (
        ("brackets are nested deeper than", most_nested, MOST_NESTED),
        ("the request is deeper than", deepest, MOST_DEPTH),
        ("more aliases than", aliases, MOST_ALIASES),
        ("more tokens than", count, MOST_TOKENS),
        (_COSTS_OVER, cost, MOST_COST),
    )
    return next((f"{what} {most:,}" for what, found, most in limits if found > most), "")


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
