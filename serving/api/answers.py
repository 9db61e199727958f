"""A question's answer as bytes: body, ETag, version, next page; and the response that carries them.

Belongs here: cutting pages, the documents of explanations and boards, 304. Does not belong here: computing
(`serving`), routes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
from starlette.responses import Response

from contracts.metric_catalogue import catalogue
from resources.clickhouse import Client
from serving.api.paging import make_cursor
from serving.api.questions import Question
from serving.explain import Explanation, explain
from serving.plan import MetricQuery, dimensions_of
from serving.query import MetricAnswer, answer
from serving.trends import STALE_AFTER, TrendBoard


@dataclass(frozen=True, slots=True)
class Answered:
    """`version` (`MetricAnswer.sequence`) only grows; `next_cursor` is '' where there is no next page."""

    body: bytes
    version: int
    next_cursor: str = ""
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", etag_of(self.body))


def etag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def conditional(body: bytes, if_none_match: str | None, answered: Answered | None = None) -> Response:
    """The body, or 304 when the caller has it. Nothing between us and the caller may keep it without asking us."""
    etag = answered.etag if answered is not None else etag_of(body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if answered is not None:
        headers["Tally-Version"] = str(answered.version)
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if etag in known or "*" in known:
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")


def answer_metric(client: Client, question: Question) -> Answered:
    """Answer a question: the whole of it, or the page it names."""
    given = answer(client, question.query)
    if question.page is None:
        return Answered(given.body(), given.sequence)
    end = question.offset + question.page
    more = given.frame.height > end
    if more and question.query.as_of is None:
        # Its pages are of one instant: else what arrives between two of them would shift rows from one to the other.
        given = answer(client, replace(question.query, as_of=given.as_of))
        more = given.frame.height > end
    page = replace(given, frame=given.frame.slice(question.offset, question.page))
    cursor = make_cursor(question.query, given.as_of, end) if more else ""
    return Answered(page.body(), given.sequence, cursor)


def explain_metric(client: Client, query: MetricQuery, at: datetime) -> Answered:
    """Explain a workspace's number. Of what all workspaces share, only what its own numbers rest on is told.

    A seal and an archive part count rows of every workspace: these counts are left out, and so are networks in which
    this workspace has no event.
    """
    found = explain(client, query, at)
    networks = _networks(client, query, found.answer)
    document = {
        **orjson.loads(found.answer.body()),
        "definition": found.metric.model_dump(mode="json"),
        "sql": found.answer.sql,
        "asset": found.asset,
        "counted_at_offsets": found.counted,
        "proven": found.proven,
        "seals": _instants(found.seals.filter(pl.col("network").is_in(networks)).drop("events")),
        "offsets": found.offsets.to_dicts(),
        "archive_parts": _parts(found),
        "restatements": _instants(found.restatements.drop("workspace")),
    }
    return Answered(orjson.dumps(document), found.answer.sequence)


def _networks(client: Client, query: MetricQuery, given: MetricAnswer) -> list[str]:
    """Networks in which the workspace has events in the explained bucket."""
    filters = {name: values for name, values in query.filters.items() if name == "network"}
    asked = MetricQuery(
        "events", ("network",), given.start, given.end, "total", as_of=query.as_of, workspace=query.workspace,
        filters=filters,
    )  # fmt: skip
    return answer(client, asked).frame["network"].to_list()


def _parts(found: Explanation) -> list[dict[str, Any]]:
    return found.parts.drop("rows").to_dicts() if found.offsets.height else []


def _instants(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows with their instants as ISO 8601 in UTC, which drivers leave without a zone."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    told = frame.with_columns(pl.col(times).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    return told.to_dicts()


def board_document(board: TrendBoard, now: datetime) -> dict[str, Any]:
    """A board; `stale` when nothing has renewed it for a while."""
    return {
        "window": board.board.window,
        "kind": board.board.kind,
        "network": board.board.network,
        "known": board.known,
        "as_of": _iso(board.as_of),
        "hop": _iso(board.hop),
        "version": board.version,
        "stale": board.as_of is not None and now - board.as_of > STALE_AFTER,
        "entries": [
            {**entry, "entered_at": _iso(entry["entered_at"])} for entry in board.entries.iter_rows(named=True)
        ],
    }


def catalogue_document() -> list[dict[str, Any]]:
    """Every metric, with the dimensions it may be grouped and filtered by."""
    return [
        {**metric.model_dump(mode="json"), "dimensions": list(dimensions_of(metric))} for metric in catalogue().values()
    ]


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
