"""Boards computed again over a whole stretch equal boards asked hop by hop, window by window."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

import polars as pl

from analytics.trend_replay import LEAD_PANES, STAY_SCHEMA, replay
from analytics.trends import BASELINE_PANES, KEY, STATS_SCHEMA, WINDOWS, board, effective_actors

Mention = tuple[str, str, int]  # topic, actor, pane


def some_mentions(seed: int, first: int, last: int) -> list[Mention]:
    chance = random.Random(seed)
    found = [(f"t{chance.randrange(6)}", f"u{chance.randrange(60)}", chance.randrange(first, last)) for _ in range(900)]
    for topic, people in (("t1", 40), ("new", 12), ("t5", 25)):
        begin = chance.randrange(last - 150, last - 40)
        found += [(topic, f"v{n}", begin + chance.randrange(20)) for n in range(people)]
    return found


def hop_by_hop(mentions: list[Mention], first: int, last: int, observed: int) -> pl.DataFrame:
    """The board of every hop from the rules for one hop; runs of hops on it are stays."""
    before = pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String()), "entered_at": pl.Datetime("ms", "UTC")})
    on: dict[tuple[str, str], list[int]] = {}
    for hop in range(first, last + 1):
        rows = []
        for window, length in WINDOWS.items():
            for topic in {mention[0] for mention in mentions}:
                people = Counter(a for t, a, p in mentions if t == topic and hop - length <= p < hop)
                past = {
                    (a, p) for t, a, p in mentions if t == topic and hop - length - BASELINE_PANES <= p < hop - length
                }
                n = max(0, min(BASELINE_PANES, hop - length - observed))
                counts = (people.total(), len(people), effective_actors(list(people.values())), 0.5, len(past), n)
                rows.append(("acme", "app", window, "hashtag", topic, topic, *counts))
        stats = pl.DataFrame(rows, schema=STATS_SCHEMA, orient="row")
        before = board(stats, before, datetime.fromtimestamp(hop * 10, UTC))
        for window, topic in before.select("window", "topic").iter_rows():
            on.setdefault((window, topic), []).append(hop)
    stays = []
    for (window, topic), hops in on.items():
        begin = hops[0]
        for here, after in zip(hops, [*hops[1:], last + 9], strict=True):
            if after > here + 1:
                stays.append((window, topic, begin, here))
                begin = after
    return pl.DataFrame(stays, schema={name: STAY_SCHEMA[name] for name in STAYS}, orient="row").sort(STAYS)


STAYS = ["window", "topic", "first_hop", "last_hop"]


def test_a_replay_is_the_boards_of_every_hop() -> None:
    first, last = 1_000_000, 1_000_060
    observed = first - 520
    mentions = [m for m in some_mentions(9, observed, last) if m[2] >= observed]
    frame = pl.DataFrame(mentions, schema={"topic": pl.String, "actor": pl.String, "pane": pl.Int64}, orient="row")
    frame = frame.with_columns(workspace=pl.lit("acme"), network=pl.lit("app"), kind=pl.lit("hashtag"))
    found = replay(pl.concat([frame, frame.head(50)]), first, last, {("acme", "app"): observed})
    expected = hop_by_hop(mentions, first - 60, last, observed).filter(pl.col("last_hop") >= first)
    assert expected.height >= 3
    assert found.select(STAYS).sort(STAYS).equals(expected)
    assert found["most_actors"].min() >= 1
    assert found["least_log10_p"].max() < -7


def test_no_mentions_are_no_stays_and_the_lead_covers_all_that_is_looked_at() -> None:
    columns = {"workspace": pl.String, "network": pl.String, "kind": pl.String, "topic": pl.String, "actor": pl.String}
    empty = pl.DataFrame(schema={**columns, "pane": pl.Int64})
    assert replay(empty, 10, 20, {}).schema == pl.Schema(STAY_SCHEMA)
    assert LEAD_PANES == 810
