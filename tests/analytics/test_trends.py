"""What the board promises: few false alarms, bursts found, spam ranked below people, and who stays how long."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from analytics.trends import (
    BASELINE_PANES,
    BOARD_SIZE,
    ENTER_LOG10,
    KEY,
    LEAST_ACTORS,
    STATS_SCHEMA,
    WINDOWS,
    board,
    effective_actors,
    log10_tail,
    with_all_networks,
)

HOP = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 8640
NOBODY = pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String()), "entered_at": pl.Datetime("ms", "UTC")})


def enough(window: int, most: int, past: int = BASELINE_PANES) -> npt.NDArray[np.int64]:
    """For each baseline total 0…most, the least number of actors that enters: by bisection on the tail."""
    s = np.arange(most + 1)
    low, high = np.full(most + 1, LEAST_ACTORS - 1), np.full(most + 1, 4 * most + 400)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        rare = log10_tail(middle, s, past, window) < ENTER_LOG10
        high, low = np.where(rare, middle, high), np.where(rare, low, middle)
    return np.maximum(high, LEAST_ACTORS)


def windows_and_baselines(counts: npt.NDArray[np.int64], window: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Sums of each window and of the hour before it, for topics (rows) over panes (columns)."""
    total = np.cumsum(np.pad(counts, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(BASELINE_PANES + window, counts.shape[1] + 1)
    x = total[:, ends] - total[:, ends - window]
    return x, total[:, ends - window] - total[:, ends - window - BASELINE_PANES]


def alarms_a_day(rng: np.random.Generator, topics: int) -> int:
    """Entries on a board (any window) of topics whose rates never change: 0.05 to 100 people a minute."""
    found = 0
    for rate in np.exp(rng.uniform(math.log(0.05), math.log(100), topics)):
        counts = rng.poisson(rate / 6, (1, DAY + BASELINE_PANES + 90))
        for panes in WINDOWS.values():
            x, s = windows_and_baselines(counts, panes)
            on = (x >= NEEDED[panes][s])[0]
            found += int(on[0]) + int((on[1:] & ~on[:-1]).sum())
    return found


NEEDED = {panes: enough(panes, 9000) for panes in WINDOWS.values()}


def test_noise_raises_at_most_five_false_alarms_per_thousand_topics_a_day() -> None:
    topics = 3000
    found = alarms_a_day(np.random.default_rng(2026), topics)
    # Under a rate of 5 per 1,000 fewer than 7 alarms in 3,000 topic-days have a probability below 1 %.
    assert found <= 6, f"{found} alarms in {topics} topic-days"


@pytest.mark.parametrize("rate", [1.0, 5.0])
def test_a_tenfold_burst_is_found_in_the_first_full_five_minutes(rate: float) -> None:
    rng = np.random.default_rng(7)
    trials, panes = 2000, WINDOWS["5m"]
    s = rng.poisson(rate * BASELINE_PANES / 6, trials)
    x = rng.poisson(10 * rate * panes / 6, trials)
    found = float((x >= NEEDED[panes][s]).mean())
    assert found - 2.58 * math.sqrt(max(found * (1 - found), 1e-4) / trials) >= 0.95


def test_a_topic_never_seen_before_needs_a_handful_of_people() -> None:
    assert {name: int(NEEDED[panes][0]) for name, panes in WINDOWS.items()} == {"1m": 5, "5m": 6, "15m": 10}


SPAM = {  # topic: events of each actor
    "bot": [10_000],
    "puppets": [500] * 20,
    "people": [1 + (n % 3 == 0) + 3 * (n % 20 == 0) for n in range(220)],
}


def stats_of(actors: dict[str, list[int]], window: str = "5m", baseline: int = 3, network: str = "app") -> pl.DataFrame:
    """Stats as the store gives them, of topics with these events per actor."""
    rows = [
        {
            "workspace": "acme", "network": network, "window": window, "kind": "hashtag", "topic": topic,
            "label": topic, "events": sum(events), "distinct_actors": len(events),
            "entropy_sum": sum(e * math.log(e) for e in events), "top_events": max(events),
            "baseline": baseline, "past_panes": BASELINE_PANES,
        }
        for topic, events in actors.items()
    ]  # fmt: skip
    return with_all_networks(pl.DataFrame(rows))


def test_effective_actors_of_the_definition() -> None:
    rounded = {topic: round(effective_actors(events)) for topic, events in SPAM.items()}
    assert (rounded["bot"], rounded["puppets"]) == (1, 20)
    assert 170 < rounded["people"] < 220
    assert effective_actors([]) == 0
    by_store = stats_of(SPAM).filter(network="app")
    assert dict(by_store.select("topic", "effective_actors").iter_rows()) == pytest.approx(
        {topic: effective_actors(events) for topic, events in SPAM.items()}
    )


def test_a_bot_and_puppets_rank_below_people_and_the_board_says_why() -> None:
    crowd = {**SPAM, "bot among ten": [10_000, *[1] * 9]}
    ranked = board(stats_of(crowd), NOBODY, HOP).filter(network="app").sort("rank")
    assert ranked["topic"].to_list() == ["people", "puppets", "bot among ten"]  # the bot alone has no five people
    assert ranked["dampening"].to_list() == ["", "repeated", "one_actor"]


def test_it_enters_below_one_in_ten_million_and_stays_until_one_in_ten_thousand() -> None:
    s, panes = 60, WINDOWS["5m"]
    least = int(NEEDED[panes][s])
    entering = board(stats_of({"t": [1] * least}, baseline=s), NOBODY, HOP)
    assert board(stats_of({"t": [1] * (least - 1)}, baseline=s), NOBODY, HOP).is_empty()
    assert entering.select(pl.len(), pl.col("entered_at").n_unique()).row(0) == (2, 1)  # app and all

    later = HOP + timedelta(seconds=10)
    staying = next(x for x in range(least) if log10_tail(x, s, BASELINE_PANES, panes)[0] <= -4)
    stayed = board(stats_of({"t": [1] * staying}, baseline=s), entering, later)
    assert stayed["entered_at"].to_list() == [HOP, HOP]
    assert board(stats_of({"t": [1] * (staying - 1)}, baseline=s), entering, later).is_empty()
    assert board(pl.DataFrame(schema=STATS_SCHEMA), entering, later).is_empty()  # an empty window


def test_the_score_halves_every_hour() -> None:
    crowd = stats_of({"t": [1] * 100})
    first = board(crowd, NOBODY, HOP)
    later = board(crowd, first, HOP + timedelta(hours=2))
    assert later["score"].to_list() == pytest.approx([score / 4 for score in first["score"]], abs=1e-5)


def test_equal_scores_stand_in_one_order_and_the_board_has_its_size() -> None:
    crowd = stats_of({f"t{n:03d}": [1] * 30 for n in range(BOARD_SIZE + 20)})
    ranked = board(crowd.sample(fraction=1.0, shuffle=True, seed=3), NOBODY, HOP).filter(network="all").sort("rank")
    assert ranked["topic"].to_list() == [f"t{n:03d}" for n in range(BOARD_SIZE + 19, 19, -1)]
    assert ranked["rank"].to_list() == list(range(1, BOARD_SIZE + 1))


def test_all_networks_together_are_the_actors_of_each() -> None:
    here, there = stats_of({"t": [5, 1, 1]}), stats_of({"t": [2, 2]}, network="web")
    sums = pl.concat([frame.filter(pl.col("network") != "all") for frame in (here, there)])
    assert sums.height == 2
    both = with_all_networks(
        pl.DataFrame(
            {
                "workspace": ["acme"] * 2, "network": ["app", "web"], "window": ["5m"] * 2, "kind": ["hashtag"] * 2,
                "topic": ["t"] * 2, "label": ["T", "t"], "events": [7, 4], "distinct_actors": [3, 2],
                "entropy_sum": [5 * math.log(5), 4 * math.log(2)], "top_events": [5, 2], "baseline": [1, 2],
                "past_panes": [360, 100],
            }
        )
    ).filter(network="all")  # fmt: skip
    assert both.row(0, named=True) == {
        "workspace": "acme", "network": "all", "window": "5m", "kind": "hashtag", "topic": "t", "label": "T",
        "events": 11, "distinct_actors": 5, "effective_actors": pytest.approx(effective_actors([5, 1, 1, 2, 2])),
        "top_share": pytest.approx(5 / 11), "baseline": 3, "past_panes": 360,
    }  # fmt: skip
