"""The standing facts of a simulated network: people, tags, campaigns, bursts. All drawn from the seed.

Belongs here: what does not depend on the moment. Does not belong here: events.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TAGS = (
    "news", "music", "football", "ai", "climate", "travel", "food", "photography", "gaming", "fashion",
    "science", "books", "cinema", "fitness", "startups", "art", "history", "politics", "space", "cats",
    "hava", "música", "наука", "音楽", "क्रिकेट", "سفر", "café", "straße", "données", "ζωή",
)  # fmt: skip
DEVICES = ("ios", "android", "web", "unknown")
AGES = ("18-24", "25-34", "35-44", "45-54", "55+", "")
COUNTRIES = ("US", "IN", "BR", "DE", "JP", "GB", "NG", "unknown")
BURST_BLOCK_SECONDS = 4 * 3600


@dataclass(frozen=True, slots=True)
class Burst:
    """A topic that suddenly everybody posts about. `start` and `end` are seconds since the epoch, `[start, end)`."""

    tag: str
    start: int
    end: int
    factor: float


def zipf_cdf(size: int, exponent: float) -> Floats:
    """Cumulative probabilities of a Zipf law over ranks 1…size, for `np.searchsorted` with uniform draws."""
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return np.asarray(np.cumsum(weights) / weights.sum(), dtype=np.float64)


@dataclass(frozen=True)
class World:
    """People are ranked by how much they post; bots, spread over the ranks, post the same tag over and over."""

    seed: int
    people: int = 20_000
    bot_share: float = 0.01
    campaigns: int = 6
    ads_per_campaign: int = 4

    @cached_property
    def activity_cdf(self) -> Floats:
        return zipf_cdf(self.people, 0.8)

    @cached_property
    def tag_cdf(self) -> Floats:
        return zipf_cdf(len(TAGS), 1.1)

    @cached_property
    def reach(self) -> Floats:
        """Relative audience of each person: a Pareto tail, independent of how much they post."""
        return np.random.default_rng([self.seed, 11]).pareto(1.3, self.people) + 1.0

    @cached_property
    def bots(self) -> npt.NDArray[np.bool_]:
        return np.random.default_rng([self.seed, 12]).random(self.people) < self.bot_share

    @cached_property
    def first_person(self) -> Ints:
        """Rank → person number: who is active has nothing to do with when they signed up."""
        return np.random.default_rng([self.seed, 13]).permutation(self.people).astype(np.int64)

    def draw_people(self, rng: np.random.Generator, size: int) -> Ints:
        ranks = np.searchsorted(self.activity_cdf, rng.random(size))
        return np.asarray(self.first_person[ranks], dtype=np.int64)

    def burst_at(self, second: int) -> Burst | None:
        """The burst running at this second, if any: at most one per four hours, ten to forty minutes long."""
        block = second // BURST_BLOCK_SECONDS
        rng = np.random.default_rng([self.seed, 14, block])
        start = block * BURST_BLOCK_SECONDS + int(rng.integers(0, BURST_BLOCK_SECONDS - 2400))
        burst = Burst(TAGS[int(rng.integers(len(TAGS)))], start, start + int(rng.integers(600, 2400)),
                      float(rng.uniform(4, 12)))  # fmt: skip
        return burst if burst.start <= second < burst.end else None


def rhythm(second: int) -> float:
    """How busy the network is at this second, 1.0 on average: quiet at 04:00 UTC, busy at 19:00, calmer at weekends."""
    hour = (second % 86_400) / 3600
    day = 1 + 0.55 * np.cos((hour - 19) / 24 * 2 * np.pi) + 0.15 * np.cos((hour - 12) / 12 * 2 * np.pi)
    weekday = (second // 86_400 + 3) % 7  # the epoch was a Thursday; Monday is 0
    return float(day * (0.85 if weekday >= 5 else 1.06))
