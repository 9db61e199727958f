"""The boards that people see: equal to a separate computation, the same in both stores, mended by a restart."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from contracts.envelope import EVENT_SCHEMA
from contracts.trend_boards import BoardId
from resources.cache import Cache, CacheUnavailableError, open_cache
from resources.clickhouse import insert_frame
from streaming.publisher.trends import TrendTask
from tests.streaming.publisher.board_oracle import Boards, Mention, boards

SECOND = timedelta(seconds=1)
WINDOWS = ("1m", "5m", "15m")


@pytest.fixture
def cache(redis_server: Any) -> Iterator[Cache]:
    import redis

    redis.Redis.from_url(redis_server.url).flushall()
    opened = open_cache(redis_server.url)
    yield opened
    opened.close()


@pytest.fixture
def start() -> datetime:
    """Two hours ago: panes are kept for days only."""
    return datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) // 60 * 60 - 7200, UTC)


class Store:
    """Writes mentions as posts, each at its own log position."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._offset = 0

    def put(self, mentions: Sequence[Mention], objects: Sequence[str] = (), **fields: Any) -> None:
        rows = []
        for number, mention in enumerate(mentions):
            at = datetime.fromtimestamp(mention.at, UTC)
            row = {
                "workspace": "acme", "event_id": str(uuid.uuid4()), "type": "post.created", "network": mention.network,
                "actor": mention.actor, "object": objects[number] if objects else "",
                "campaign": "", "topics": [mention.topic], "properties": "{}",
                "occurred_at": at, "received_at": at, "event_time": at, "time_flag": "ok", "sdk": "test",
                "schema_version": 2, "receipt_id": "r", "raw": "",
            }  # fmt: skip
            rows.append({**row, **fields})
        frame = pl.DataFrame(rows, schema=EVENT_SCHEMA).drop("raw")
        places = pl.int_range(self._offset, self._offset + len(rows), dtype=pl.Int64, eager=True)
        self._offset += len(rows)
        insert_frame(
            self._client,
            "events",
            frame.with_columns(
                log_topic=pl.lit("content-events"), log_partition=pl.lit(0, pl.Int32), log_offset=places
            ),
        )


def an_evening(seed: int, start: float) -> list[Mention]:
    """Eighty quiet minutes of ten topics on two networks, then ten with a crowd, a bot among people, and puppets."""
    chance = random.Random(seed)

    def some(count: float, begin: float, length: float, topic: str, people: int, network: str = "") -> list[Mention]:
        return [
            Mention(
                start + round(begin + chance.random() * length, 3),
                network or chance.choice(("app", "web")),
                f"u{chance.randrange(people)}",
                topic,
            )
            for _ in range(round(count))
        ]

    found = []
    for number in range(10):
        found += some(90 * (number + 1) / 4, 0, 5400, f"quiet{number}", 400)
    found += some(160, 4900, 240, "crowd", 900)
    found += some(300, 5000, 120, "mixed", 1, "app") + some(30, 5000, 120, "mixed", 500, "app")
    found += some(600, 5000, 100, "puppets", 12, "web")
    found += some(40, 5100, 60, "quiet3", 500, "app")
    return sorted(found)


def test_both_stores_equal_a_separate_computation_at_random_moments(
    clickhouse: Client, clickhouse_url: str, cache: Cache, redis_server: Any, start: datetime
) -> None:
    from serving.trends import read_board

    chance, zero = random.Random(5), start.timestamp()
    mentions = an_evening(5, zero)
    store, task = Store(clickhouse), TrendTask(clickhouse_url, redis_server.url)
    told, before, last, hop = zero, {}, {}, 0
    computed: dict[int, Boards] = {}
    met: set[str] = set()
    now = zero + 4860
    while now < zero + 5430:
        now = round(now + chance.choice((1.0, 2.0, 5.0, 9.7, 12.3)), 3)
        store.put([m for m in mentions if told <= m.at < now])
        told = now
        moment = datetime.fromtimestamp(now, UTC)
        task.run(moment)
        if int(now) // 10 != hop:
            before, hop = last, int(now) // 10
        window = [m for m in mentions if m.at > now - 4600]
        since = {n: int(min(m.at for m in mentions if m.network == n)) // 10 * 10 for n in ("app", "web")}
        last = boards(window, now, before, since)
        for network in ("app", "web", "all"):
            for name in WINDOWS:
                place = BoardId("acme", network, name, "hashtag")
                shown = read_board(clickhouse, cache, place)
                kept = read_board(clickhouse, None, place, as_of=moment)
                assert set(shown.entries["topic"]) == set(last.get((network, name), {})), (place, moment)
                if shown.version:
                    assert shown.source == "cache"
                    assert (shown.version, shown.hop) == (kept.version, kept.hop)
                    assert shown.entries.equals(kept.entries)
                    computed.setdefault(round(now * 1000), last)
                    then = computed[shown.version].get((network, name), {})
                    scores = dict(shown.entries.select("topic", "score").iter_rows())
                    assert scores == pytest.approx({t: e.score for t, e in then.items()}, rel=1e-3, abs=1e-3)
                met |= set(shown.entries["topic"])
    assert {"crowd", "mixed", "puppets", "quiet3"} <= met
    assert not met & {"quiet0", "quiet9"}


def test_a_kill_between_the_two_writes_is_healed_by_the_next_run(
    clickhouse: Client, clickhouse_url: str, cache: Cache, redis_server: Any, start: datetime
) -> None:
    from serving.trends import list_boards, rank_of, read_board

    zero = start.timestamp()
    store, place = Store(clickhouse), BoardId("acme", "all", "5m", "hashtag")
    store.put([Mention(zero, "app", "u0", "early")])
    store.put([Mention(zero + 4800 + n, "app", f"u{n}", "crowd") for n in range(60)])
    moment = start + 4861 * SECOND
    broken = TrendTask(clickhouse_url, "redis://127.0.0.1:1/0")
    with pytest.raises(CacheUnavailableError):
        broken.run(moment)
    assert list_boards(clickhouse, cache) == list_boards(clickhouse, None, as_of=moment) != []  # nobody wrote the cache
    entered = read_board(clickhouse, None, place, as_of=moment).entries["entered_at"].to_list()

    TrendTask(clickhouse_url, redis_server.url).run(moment + 12 * SECOND)
    shown = read_board(clickhouse, cache, place)
    assert shown.source == "cache"
    assert shown.entries["topic"].to_list() == ["crowd"]
    assert shown.entries["entered_at"].to_list() == entered  # the history's, not a new one
    assert rank_of(clickhouse, cache, place, "crowd") == rank_of(clickhouse, None, place, "crowd") == 1
    assert rank_of(clickhouse, cache, place, "nobody") is None


def test_an_entry_leaves_a_quarter_of_an_hour_and_a_hop_after_its_last_mention(
    clickhouse: Client, clickhouse_url: str, cache: Cache, redis_server: Any, start: datetime
) -> None:
    from serving.trends import list_boards, read_board

    zero = start.timestamp()
    store, task = Store(clickhouse), TrendTask(clickhouse_url, redis_server.url)
    store.put([Mention(zero, "app", "u0", "early")])
    store.put([Mention(zero + 4800 + n / 10, "app", f"u{n}", "crowd") for n in range(90)])
    stopped = start + 4809 * SECOND
    place = BoardId("acme", "app", "15m", "hashtag")
    seen = []
    for second in (0, 60, 300, 885, 905):
        task.run(stopped + second * SECOND)
        seen.append(read_board(clickhouse, cache, place).entries["topic"].to_list())
    assert seen == [["crowd"], ["crowd"], ["crowd"], ["crowd"], []]
    assert list_boards(clickhouse, cache) == []
    gone = read_board(clickhouse, None, place, as_of=stopped + 905 * SECOND)
    assert gone.known
    assert gone.entries.is_empty()


def test_links_objects_and_emoji_have_boards_of_their_own(
    clickhouse: Client, clickhouse_url: str, cache: Cache, redis_server: Any, start: datetime
) -> None:
    from serving.trends import read_board

    zero = start.timestamp()
    store, task = Store(clickhouse), TrendTask(clickhouse_url, redis_server.url)
    store.put([Mention(zero, "app", "u0", "early")])
    people = [Mention(zero + 4800 + n / 10, "app", f"u{n}", "x") for n in range(80)]
    link = json.dumps({"url": "https://www.example.org/story/?ref=1", "text": "look 😀"}, ensure_ascii=False)
    store.put(people, type="share.created", object="post-1", properties=link)
    singles = [f"o{number}" for number in range(600)]  # more objects than the summary keeps, each seen once
    store.put([Mention(zero + 4800, "app", "v", "y")] * 600, objects=singles, type="content.viewed")
    task.run(start + 4811 * SECOND)
    found = {
        kind: read_board(clickhouse, cache, BoardId("acme", "all", "1m", kind)).entries["topic"].to_list()
        for kind in ("hashtag", "emoji", "link", "object")
    }
    assert found == {"hashtag": ["x"], "emoji": ["😀"], "link": ["example.org/story"], "object": ["post-1"]}
