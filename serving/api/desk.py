"""The desk: every question of the API passes here, whatever it came by.

Belongs here: which answers there are, under which key each is kept. Does not belong here: HTTP, reading parameters.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from contracts.trend_boards import BoardId
from resources.clickhouse import Client
from serving.api.answers import Answered, answer_metric, board_document, explain_metric
from serving.api.cache import AnswerCache
from serving.api.questions import Question
from serving.api.stores import Stores
from serving.trends import read_board


class Desk:
    """Answers of one process. `least` is a version that the caller has seen: no older answer is given."""

    def __init__(self, stores: Stores, cache: AnswerCache) -> None:
        self._stores = stores
        self._cache = cache

    async def metric(self, question: Question, least: int = 0) -> Answered:
        return await self._cache.get(
            _metric_key(question),
            lambda client: answer_metric(client, question),
            closed_from=_closed_from(question),
            least=least,
        )

    def known_metric(self, question: Question, least: int = 0) -> Answered | None:
        """What `metric` returns if this process has it; None: it has not."""
        return self._cache.known(_metric_key(question), closed_from=_closed_from(question), least=least)

    async def explain(self, question: Question, at: datetime, least: int = 0) -> Answered:
        return await self._cache.get(
            f"explain/{question.key}",
            lambda client: explain_metric(client, question.query, at),
            closed_from=_closed_from(question),
            least=least,
        )

    async def board(self, board: BoardId, as_of: datetime | None, limit: int) -> Answered:
        """A board. The publisher makes one every second, with or without events: its version is its own."""

        def read(client: Client) -> Answered:
            found = read_board(client, self._stores.cache, board, as_of=as_of, limit=limit)
            return Answered(orjson.dumps(board_document(found, datetime.now(UTC))), found.version)

        return await self._cache.get_for(f"board/{tuple(board)!r}/{as_of}/{limit}", read)


def _metric_key(question: Question) -> str:
    return f"metric/{question.key}"


def _closed_from(question: Question) -> datetime | None:
    return None if question.query.as_of is not None else question.closed_from
