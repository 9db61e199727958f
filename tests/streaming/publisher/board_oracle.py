"""Boards computed a second time, from a plain list of mentions: loops, sets and an integral; no frame, no SQL."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

PANE = 10
WINDOWS = {"1m": 60, "5m": 300, "15m": 900}
BASELINE = 3600


class Mention(NamedTuple):
    at: float  # seconds since the epoch
    network: str
    actor: str
    topic: str


class Entry(NamedTuple):
    score: float
    entered: int


Boards = dict[tuple[str, str], dict[str, Entry]]


def tail_log10(x: float, s: int, n: int, m: int) -> float:
    """log10 P(X >= x) = log10 I_q(x, r), by the midpoint rule over t in [0, q]; t = q * u^4 tames the pole at 0."""
    r, p = 0.5 + s, (0.5 + n) / (0.5 + n + m)
    if x <= 0:
        return 0.0
    q = 1 - p
    log_beta = math.lgamma(x) + math.lgamma(r) - math.lgamma(x + r)
    steps = 600
    logs = []
    for k in range(1, 2 * steps, 2):
        u = k / (2 * steps)
        t = q * u**4
        logs.append((x - 1) * math.log(t) + (r - 1) * math.log1p(-t) + math.log(4 * q * u**3 / steps))
    top = max(logs)
    return min(0.0, (top + math.log(sum(math.exp(each - top) for each in logs)) - log_beta) / math.log(10))


def boards(mentions: Iterable[Mention], now: float, before: Boards, since: dict[str, int]) -> Boards:
    """Boards (network, window) → topic → entry at `now`, after the boards `before` of the last hop."""
    hop = int(now) // PANE * PANE + PANE
    by_topic: dict[tuple[str, str], list[Mention]] = defaultdict(list)
    for mention in mentions:
        if mention.at < now:
            by_topic[mention.network, mention.topic].append(mention)
            by_topic["all", mention.topic].append(mention)
    found: Boards = defaultdict(dict)
    for (network, topic), all_of_it in by_topic.items():
        for window, length in WINDOWS.items():
            people = Counter((m.network, m.actor) for m in all_of_it if hop - length <= m.at < hop)
            if not people:
                continue
            past = {
                (int(m.at) // PANE, m.network, m.actor)
                for m in all_of_it
                if hop - length - BASELINE <= m.at < hop - length
            }
            stayed = before.get((network, window), {}).get(topic)
            if len(people) < 5 and not stayed:
                continue
            start = min(since.values()) if network == "all" else since[network]
            n = max(0, min(BASELINE // PANE, (hop - length - start) // PANE))
            rare = tail_log10(len(people), len(past), n, length // PANE)
            if (rare < -7 and len(people) >= 5) or (stayed and rare <= -4):
                total = sum(people.values())
                effective = math.exp(-sum(c / total * math.log(c / total) for c in people.values()))
                entered = stayed.entered if stayed else hop
                age = 0.5 ** ((hop - entered) / 3600)
                score = -tail_log10(min(max(effective, 1.0), len(people)), len(past), n, length // PANE) * age
                found[network, window][topic] = Entry(score, entered)
    return dict(found)
