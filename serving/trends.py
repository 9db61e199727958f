"""Boards of trending topics for readers: from the cache while it has them, as of any instant from ClickHouse.

Belongs here: reading. Does not belong here: computing boards (`streaming.publisher`, `analytics.trends`), showing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from analytics.trends import BOARD_SCHEMA
from contracts.trend_boards import LIST_NAME, BoardId
from resources.cache import Cache, CacheUnavailableError
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render

STALE_AFTER = timedelta(seconds=60)
"""A board without a newer version for this long is shown as stale: the publisher does not run."""

_BOARD = ("workspace", "network", "window", "kind")
ENTRY_COLUMNS = tuple(name for name in BOARD_SCHEMA if name not in _BOARD)


@dataclass(frozen=True, slots=True)
class TrendBoard:
    """`entries`: ENTRY_COLUMNS, best first. `as_of`: when this version was computed; `hop`: end of its windows (UTC).

    `source` is cache or history. `known` is False where no such board was published by then: nothing ever trended.
    """

    board: BoardId
    entries: pl.DataFrame
    known: bool = False
    version: int = 0
    as_of: datetime | None = None
    hop: datetime | None = None
    source: str = "history"


def read_board(
    client: Client, cache: Cache | None, board: BoardId, *, as_of: datetime | None = None, limit: int = 100
) -> TrendBoard:
    """Return the newest version of a board, or the one that stood at `as_of` (UTC).

    The newest one is the cache's; where the cache has none or does not answer, the history's.
    """
    if as_of is None and cache is not None:
        try:
            members, about = cache.board_and_about(board.cache_name, limit)
        except CacheUnavailableError:
            about = None
        if isinstance(about, dict):
            return _from_cache(board, [member for member, _ in members], about)
    found = read_boards(client, as_of or datetime.now(UTC), board)
    version = found.get(board)
    if version is None:
        return TrendBoard(board, _no_entries())
    return TrendBoard(
        board, version.entries.head(limit), True, version.version, version.as_of, version.hop, version.source
    )


def read_boards(client: Client, as_of: datetime, board: BoardId | None = None) -> dict[BoardId, TrendBoard]:
    """Return every board (or the one named) as it stood at `as_of`, from the history; empty ones included."""
    condition, named = "1", {}
    if board is not None:
        named = board._asdict()
        condition = " AND ".join(f"{name} = {{{name}:String}}" for name in named)
    rows = query_frame(client, render("trend_boards", condition=condition), {"version": _millis(as_of), **named})
    found = {}
    for key, group in rows.group_by(*_BOARD):
        name = BoardId(*map(str, key))
        version = int(group["version"][0])
        entries = group.filter(pl.col("rank") > 0).sort("rank")
        found[name] = TrendBoard(
            name, _entries(entries), True, version, _moment(version), _moment(int(group["hop"][0]) * 1000), "history"
        )
    return found


def list_boards(client: Client, cache: Cache | None, *, as_of: datetime | None = None) -> list[BoardId]:
    """Return the boards that have entries, in order."""
    if as_of is None and cache is not None:
        try:
            _, listed = cache.board_and_about(LIST_NAME, 0)
        except CacheUnavailableError:
            listed = None
        if isinstance(listed, list):
            return sorted(BoardId(*name) for name in listed)
    found = read_boards(client, as_of or datetime.now(UTC))
    return sorted(name for name, each in found.items() if not each.entries.is_empty())


def rank_of(client: Client, cache: Cache | None, board: BoardId, topic: str) -> int | None:
    """The topic's place on the newest board, from 1, or None. The cache answers in logarithmic time."""
    if cache is not None:
        try:
            return cache.rank(board.cache_name, topic)
        except CacheUnavailableError:
            pass
    entries = read_board(client, None, board).entries
    return next(iter(entries.filter(topic=topic)["rank"]), None)


def minutes_of(
    client: Client, board: BoardId, hop: datetime, topics: Sequence[str], minutes: int = 15
) -> Mapping[str, list[int]]:
    """Distinct actors of each of the last minutes before `hop`, oldest first. Panes are kept for days only."""
    if not topics:
        return {}
    parameters: dict[str, Any] = {
        "workspace": board.workspace, "network": board.network, "kind": board.kind,
        "topics": list(topics), "hop": hop, "minutes": minutes,
    }  # fmt: skip
    counts = {topic: [0] * minutes for topic in topics}
    for topic, ago, people in client.query(render("topic_minutes"), parameters=parameters).result_rows:
        counts[topic][minutes - 1 - int(ago)] = int(people)
    return counts


def _from_cache(board: BoardId, order: Sequence[str], about: Mapping[str, Any]) -> TrendBoard:
    by_topic = {entry["topic"]: entry for entry in about["entries"]}
    rows = [{**by_topic[topic], "rank": place} for place, topic in enumerate(order, 1)]
    types = {name: BOARD_SCHEMA[name] for name in ENTRY_COLUMNS} | {"entered_at": pl.Int64()}
    entries = pl.DataFrame(rows, schema=types, orient="row") if rows else pl.DataFrame(schema=types)
    version = int(about["version"])
    return TrendBoard(
        board,
        _entries(entries.with_columns(pl.from_epoch("entered_at", "ms").dt.replace_time_zone("UTC"))),
        True,
        version,
        _moment(version),
        _moment(int(about["hop"]) * 1000),
        "cache",
    )


def _entries(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(BOARD_SCHEMA[name]) for name in ENTRY_COLUMNS)


def _no_entries() -> pl.DataFrame:
    return pl.DataFrame(schema={name: BOARD_SCHEMA[name] for name in ENTRY_COLUMNS})


def _millis(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _moment(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
