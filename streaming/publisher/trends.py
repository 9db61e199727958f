"""The task that keeps the boards: twice a second from the panes to ClickHouse's history, then to the cache.

Belongs here: when a board is computed, when it becomes a new version, and the order of the two writes. Does not belong
here: counting (`trend_counts`), who is on a board (`analytics.trends`).

A board becomes a new version when somebody enters or leaves, at the latest with every hop (10 s). Every version is
written to `trend_history` first and to the cache second: the cache never shows what the history does not have. A kill
in between is healed by the next run, which starts from the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics.trends import BOARD_SCHEMA, board
from contracts.trend_boards import LIST_NAME, BoardId
from resources.cache import Board, open_cache
from resources.clickhouse import Client, insert_frame, open_clickhouse, query_frame
from resources.clickhouse.sql import render
from streaming.publisher.trend_counts import COUNTED, SKETCHED, AllCounts, HeavyCounts, hop_after, hop_before

BOARD_TTL = timedelta(seconds=60)
"""Without a publisher the cache's boards are gone after this: an old board is worse than none."""

_BOARD = ("workspace", "network", "window", "kind")
_HISTORY = (*_BOARD, "version", "hop", "rank", *(n for n in BOARD_SCHEMA if n not in {*_BOARD, "rank"}))


@dataclass(frozen=True, slots=True)
class Version:
    """A published board. `version`: the instant it was computed, ms since 1970. `entries`: BOARD_SCHEMA, best first."""

    version: int
    hop: datetime
    entries: pl.DataFrame


class TrendTask:
    """Refreshes every board of every workspace. Its memory is a copy of what the history has."""

    name = "trends"
    every_seconds = 0.5

    def __init__(self, clickhouse_url: str, cache_url: str) -> None:
        self._clickhouse_url = clickhouse_url
        self._cache = open_cache(cache_url)
        self._client: Client | None = None
        self._published: dict[BoardId, Version] | None = None
        self._before: pl.DataFrame | None = None  # the counted kinds' boards at the end of the hop before
        self._hop: datetime | None = None
        self._closed: datetime | None = None
        self._slow = pl.DataFrame(schema=BOARD_SCHEMA)
        self._counted = AllCounts()
        self._heavy = HeavyCounts()

    def run(self, now: datetime) -> None:
        """Compute, write the versions that are new, show all of them. Raises what the stores raise."""
        if self._client is None:
            self._client = open_clickhouse(self._clickhouse_url)
        if self._published is None:
            self._published = _last_versions(self._client, now)
        known = self._published
        hop, closed = hop_after(now), hop_before(now)
        if hop != self._hop:
            self._before, self._hop = _entries(known, COUNTED), hop
        if closed != self._closed:
            slow = _entries(known, SKETCHED)
            self._slow = board(self._heavy.stats(self._client, closed, _topics(slow)), slow, closed)
            self._closed = closed
        before = self._before if self._before is not None else _entries(known, COUNTED)
        fast = board(self._counted.stats(self._client, hop, _topics(before)), before, hop)
        version = max([_millis(now), *(each.version + 1 for each in known.values())])
        news = {
            **_news(known, fast, hop, version, COUNTED),
            **_news(known, self._slow, closed, version, SKETCHED),
        }
        if news:
            insert_frame(self._client, "trend_history", history_rows(news), token=f"trends/{version}")
            known.update(news)
        self._show(known)
        # What is empty is shown as such once; then it is forgotten, and the cache forgets it too.
        self._published = {name: each for name, each in known.items() if not each.entries.is_empty()}

    def _show(self, known: Mapping[BoardId, Version]) -> None:
        boards = {name.cache_name: _shown(each) for name, each in known.items()}
        boards[LIST_NAME] = Board({}, [list(name) for name, each in known.items() if not each.entries.is_empty()])
        self._cache.replace_boards(boards, BOARD_TTL)


def history_rows(versions: Mapping[BoardId, Version]) -> pl.DataFrame:
    """Rows of `trend_history`: of each version rank 0, which says that it was published, and its entries."""
    frames = []
    for name, each in versions.items():
        head = pl.DataFrame(
            [{**name._asdict(), "entered_at": each.hop, "rank": 0}], schema={**BOARD_SCHEMA}
        ).with_columns(pl.col(pl.String).fill_null(""), pl.col(pl.Int64, pl.Float64).fill_null(0))
        frames.append(
            pl.concat([head, each.entries]).with_columns(
                version=pl.lit(each.version, pl.Int64),
                hop=pl.lit(int(each.hop.timestamp()), pl.UInt32),
                rank=pl.col("rank").cast(pl.UInt16),
            )
        )
    return pl.concat(frames).select(_HISTORY)


def _news(
    known: Mapping[BoardId, Version], entries: pl.DataFrame, hop: datetime, version: int, kinds: tuple[str, ...]
) -> dict[BoardId, Version]:
    """The boards of these kinds that are new versions: other members than shown, or a new hop."""
    now = {
        BoardId(*map(str, key)): Version(version, hop, group.sort("rank")) for key, group in entries.group_by(*_BOARD)
    }
    for name, each in known.items():
        if name.kind in kinds and name not in now and not each.entries.is_empty():
            now[name] = Version(version, hop, each.entries.clear())
    return {name: each for name, each in now.items() if name not in known or _differs(known[name], each)}


def _differs(old: Version, new: Version) -> bool:
    return old.hop != new.hop or set(old.entries["topic"]) != set(new.entries["topic"])


def _shown(each: Version) -> Board:
    scores = dict(each.entries.select("topic", "score").iter_rows())
    detailed = each.entries.with_columns(pl.col("entered_at").dt.epoch("ms")).drop(*_BOARD, "rank").to_dicts()
    return Board(scores, {"version": each.version, "hop": int(each.hop.timestamp()), "entries": detailed})


def _entries(known: Mapping[BoardId, Version], kinds: tuple[str, ...]) -> pl.DataFrame:
    frames = [each.entries for name, each in known.items() if name.kind in kinds]
    return pl.concat(frames) if frames else pl.DataFrame(schema=BOARD_SCHEMA)


def _topics(entries: pl.DataFrame) -> list[str]:
    return sorted(entries["topic"].unique())


def _last_versions(client: Client, now: datetime) -> dict[BoardId, Version]:
    """What was published last, as a new process finds it: the boards of the last hour, which may still have members."""
    version = _millis(now)
    recent = f"version > {version - 3_600_000:d}"
    rows = query_frame(client, render("trend_boards", condition=recent), {"version": version})
    found = {}
    for key, group in rows.group_by(*_BOARD):
        entries = group.filter(pl.col("rank") > 0).sort("rank")
        found[BoardId(*map(str, key))] = Version(
            int(group["version"][0]),
            datetime.fromtimestamp(int(group["hop"][0]), UTC),
            entries.select(pl.col(name).cast(dtype) for name, dtype in BOARD_SCHEMA.items()),
        )
    return found


def _millis(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
