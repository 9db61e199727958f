"""The desk: every question of the API passes here, whatever it came by.

Belongs here: which answers are computed, and how they are asked for. Does not belong here: HTTP, reading parameters.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from contracts.trend_boards import BoardId
from resources.clickhouse import Client
from serving.api.answers import Answered, answer_metric, board_document, explain_metric
from serving.api.config import ApiConfig
from serving.api.questions import Question
from serving.api.stores import Stores
from serving.trends import read_board


class Desk:
    def __init__(self, stores: Stores, config: ApiConfig) -> None:
        self.stores = stores
        self._config = config

    async def metric(self, question: Question) -> Answered:
        return await self.stores.ask(lambda client: answer_metric(client, question))

    async def explain(self, question: Question, at: datetime) -> Answered:
        return await self.stores.ask(lambda client: explain_metric(client, question.query, at, 0))

    async def board(self, board: BoardId, as_of: datetime | None, limit: int) -> Answered:
        def read(client: Client) -> Answered:
            found = read_board(client, self.stores.cache, board, as_of=as_of, limit=limit)
            return Answered(orjson.dumps(board_document(found, datetime.now(UTC))), found.version)

        return await self.stores.ask(read)
