"""What happens in a window of time: posts, cascades of replies and reposts, reactions, views, ads.

Belongs here: the clean events of one window. Does not belong here: faults, delivery, counting.

An engagement chooses its post by age (log-normal) and popularity (author's reach, Pareto). Posts of any past
window can be made again from the seed, so no state is carried and a window costs only itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from streaming.simulator.world import AGES, COUNTRIES, DEVICES, TAGS, Ints, World, rhythm

CLEAN_SCHEMA: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "type": pl.String(),
    "actor": pl.String(),
    "object": pl.String(),
    "campaign": pl.String(),
    "topics": pl.List(pl.String()),
    "properties": pl.String(),
    "occurred_at": pl.Datetime("ms", "UTC"),
}

# Shares of all events. Clicks and conversions of ads follow impressions; engagements follow posts.
MIX = {
    "post.created": 0.07,
    "content.viewed": 0.44,
    "reaction.added": 0.19,
    "comment.created": 0.07,
    "share.created": 0.05,
    "link.clicked": 0.04,
    "user.followed": 0.02,
    "user.signed_in": 0.02,
    "ad.impression": 0.085,
    "ad.clicked": 0.012,
    "ad.converted": 0.003,
}
ENGAGEMENTS = {"content.viewed", "reaction.added", "comment.created", "share.created", "link.clicked"}
MAX_POOL = 60_000
"""Posts an engagement can choose from: bounds memory at high rates by looking back less far."""


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """`rate` is the mean in events a second, over a day; `window_seconds` is the unit that is generated at once."""

    seed: int = 7
    rate: float = 300.0
    window_seconds: int = 10
    people: int = 20_000
    steady: bool = False  # True: no daily rhythm, for load tests


class Posts(NamedTuple):
    ids: Ints  # window * 1e6 + index: unique, and says where the post came from
    authors: Ints
    tags: Ints  # up to three per post, -1 for none; shape (n, 3)
    milliseconds: Ints  # since the epoch
    pull: Ints  # cumulative popularity


class Ads(NamedTuple):
    milliseconds: Ints  # since the epoch
    people: Ints
    ads: Ints


@dataclass(frozen=True)
class SimulatedNetwork:
    config: SimulationConfig
    world: World = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "world", World(self.config.seed, people=self.config.people))

    def window(self, number: int) -> pl.DataFrame:
        """Clean events (CLEAN_SCHEMA) of window `number`, `[number * w, (number + 1) * w)` s of the epoch, by time."""
        cfg = self.config
        start = number * cfg.window_seconds
        rng = np.random.default_rng([cfg.seed, 1, number])
        busy = 1.0 if cfg.steady else rhythm(start)
        frames = [self._posts_frame(number)]
        for kind, share in MIX.items():
            if kind == "post.created":
                continue
            if kind.startswith("ad."):
                frames.append(self._ads_frame(kind, number))
                continue
            size = int(rng.poisson(cfg.rate * cfg.window_seconds * share * busy))
            if size:
                frames.append(self._events(rng, kind, size, number))
        events = (
            pl.concat([f for f in frames if f.height])
            if any(f.height for f in frames)
            else pl.DataFrame(schema=CLEAN_SCHEMA)
        )
        return events.sort("occurred_at", "event_id")

    def windows(self, start: datetime, end: datetime) -> range:
        """Numbers of the windows that cover `[start, end)`, UTC."""
        w = self.config.window_seconds
        return range(int(start.timestamp()) // w, -(-int(end.timestamp()) // w))

    # -- posts ---------------------------------------------------------------------------------------------------

    def _posts(self, number: int) -> Posts:
        return _posts(self.world, self.config, number)

    def _posts_frame(self, number: int) -> pl.DataFrame:
        posts = self._posts(number)
        rng = np.random.default_rng([self.config.seed, 2, number])
        size = len(posts.ids)
        texts = [" ".join("#" + TAGS[t] for t in row if t >= 0) for row in posts.tags]
        properties = _properties(rng, size, text=pl.Series(texts))
        return _frame(
            rng, "post.created", posts.milliseconds, posts.authors,
            object=_named("p", posts.ids),
            topics=_topics(posts.tags),
            properties=properties,
        )  # fmt: skip

    def _pool(self, number: int) -> Posts:
        """Recent posts that can be engaged with at this window: two hours of them, or as many as MAX_POOL allows."""
        cfg = self.config
        per_window = max(1.0, cfg.rate * cfg.window_seconds * MIX["post.created"])
        back = max(1, min(7200 // cfg.window_seconds, int(MAX_POOL / per_window)))
        recent = [self._posts(n) for n in range(number - back, number + 1)]
        return Posts(*(np.concatenate(column) for column in zip(*recent, strict=True)))

    def _events(self, rng: np.random.Generator, kind: str, size: int, number: int) -> pl.DataFrame:
        cfg = self.config
        start = number * cfg.window_seconds
        seconds = start * 1000 + rng.integers(0, cfg.window_seconds * 1000, size)
        people = self.world.draw_people(rng, size)
        if kind in ENGAGEMENTS:
            return self._engagements(rng, kind, seconds, people, number)
        target = self.world.draw_people(rng, size)
        other = _named("u", target) if kind == "user.followed" else pl.repeat("", size, eager=True)
        return _frame(rng, kind, seconds, people, object=other, properties=_properties(rng, size))

    def _engagements(
        self, rng: np.random.Generator, kind: str, seconds: Ints, people: Ints, number: int
    ) -> pl.DataFrame:
        pool = self._pool(number)
        size = len(seconds)
        if not len(pool.ids):
            return pl.DataFrame(schema=CLEAN_SCHEMA)
        # Young posts draw more: each is weighed by its author's pull and an exponential forgetting of 20 minutes.
        age = np.maximum(0, seconds.min() - pool.milliseconds) / 1000
        weights = np.cumsum(pool.pull * np.exp(-age / 1200) + 1e-9)
        chosen = np.searchsorted(weights, rng.random(size) * weights[-1])
        chosen = np.minimum(chosen, len(pool.ids) - 1)
        seconds = np.maximum(seconds, pool.milliseconds[chosen] + 1)
        seconds = np.minimum(seconds, (number + 1) * self.config.window_seconds * 1000 - 1)
        # A cascade: two in five came by somebody's repost, who is named.
        via = np.where(rng.random(size) < 0.4, self.world.draw_people(rng, size), -1)
        carries = kind in {"comment.created", "share.created"}
        topics = _topics(pool.tags[chosen] if carries else np.full((size, 3), -1))
        return _frame(
            rng, kind, seconds, people,
            object=_named("p", pool.ids[chosen]),
            topics=topics,
            properties=_properties(rng, size, via=via),
        )  # fmt: skip

    def _ads_frame(self, kind: str, number: int) -> pl.DataFrame:
        world = self.world
        ads = _ads(world, self.config, kind, number)
        rng = np.random.default_rng([self.config.seed, 6, number, list(MIX).index(kind)])
        size = len(ads.milliseconds)
        money = None
        if kind == "ad.impression":
            money = rng.integers(1, 6, size)  # cost of one impression, in cents
        elif kind == "ad.converted":
            money = rng.integers(500, 20_000, size)  # value of the order, in cents
        return _frame(
            rng,
            kind,
            ads.milliseconds,
            ads.people,
            object=pl.Series([f"ad{a:03d}" for a in ads.ads], dtype=pl.String),
            campaign=pl.Series([f"c{a // world.ads_per_campaign}" for a in ads.ads], dtype=pl.String),
            properties=_properties(rng, size, money=money, ads=ads, per_campaign=world.ads_per_campaign),
        )


@lru_cache(maxsize=2048)
def _ads(world: World, config: SimulationConfig, kind: str, number: int) -> Ads:
    """Ad events of one kind in a window: impressions are drawn; a click is somebody's impression of the last minute,
    a conversion somebody's click of the last hour."""
    rng = np.random.default_rng([config.seed, 5, number, list(MIX).index(kind)])
    start = number * config.window_seconds
    busy = 1.0 if config.steady else rhythm(start)
    size = int(rng.poisson(config.rate * config.window_seconds * MIX[kind] * busy))
    seconds = start * 1000 + rng.integers(0, config.window_seconds * 1000, size)
    if kind == "ad.impression":
        return Ads(
            seconds, world.draw_people(rng, size), rng.integers(0, world.campaigns * world.ads_per_campaign, size)
        )
    before, reach = ("ad.impression", 60) if kind == "ad.clicked" else ("ad.clicked", 3600)
    back = max(1, min(reach // config.window_seconds, int(MAX_POOL / max(1.0, config.rate * config.window_seconds))))
    earlier = [_ads(world, config, before, n) for n in range(number - back, number)]
    pool = Ads(*(np.concatenate(column) for column in zip(*earlier, strict=True)))
    if not len(pool.milliseconds):
        return Ads(seconds[:0], seconds[:0], seconds[:0])
    chosen = rng.integers(0, len(pool.milliseconds), size)
    return Ads(seconds, pool.people[chosen], pool.ads[chosen])


@lru_cache(maxsize=1024)
def _posts(world: World, config: SimulationConfig, number: int) -> Posts:
    start = number * config.window_seconds
    rng = np.random.default_rng([config.seed, 3, number])
    busy = 1.0 if config.steady else rhythm(start)
    mean = config.rate * config.window_seconds * MIX["post.created"] * busy
    normal = int(rng.poisson(mean))
    burst = world.burst_at(start)
    extra = int(rng.poisson(mean * 0.02 * burst.factor)) if burst else 0
    size = normal + extra
    authors = world.draw_people(rng, size)
    tags = np.searchsorted(world.tag_cdf, rng.random((size, 3)))
    tags[np.arange(3)[None, :] >= rng.integers(0, 4, size)[:, None]] = -1
    if burst and extra:  # the crowd of a burst is many different people
        authors[normal:] = rng.integers(0, world.people, extra)
        tags[normal:, 0] = TAGS.index(burst.tag)
    bots = world.bots[authors]
    tags[bots] = np.array([authors[bots] % len(TAGS)] * 3).T.reshape(-1, 3)
    seconds = np.sort(start * 1000 + rng.integers(0, config.window_seconds * 1000, size))
    pull = np.where(bots, 0.05, world.reach[authors] * (rng.pareto(1.5, size) + 0.2))
    return Posts(number * 1_000_000 + np.arange(size), authors, tags, seconds, pull)


def _named(prefix: str, numbers: Ints) -> pl.Series:
    return pl.select(pl.lit(prefix) + pl.Series(numbers).cast(pl.String)).to_series()


def _topics(tags: Ints) -> pl.Series:
    """Tag numbers, -1 for none, shape (n, 3) → lists of names, each once."""
    names = pl.Series([*TAGS, None], dtype=pl.String)
    columns = [names.gather(np.where(tags[:, i] < 0, len(TAGS), tags[:, i])).alias(str(i)) for i in range(3)]
    return pl.select(pl.concat_list(columns).list.drop_nulls().list.unique(maintain_order=True)).to_series()


def _properties(
    rng: np.random.Generator, size: int, *, text: pl.Series | None = None, via: Ints | None = None,
    money: Ints | None = None, ads: Ads | None = None, per_campaign: int = 1,
) -> pl.Series:  # fmt: skip
    parts = [
        pl.format('{{"device":"{}","country":"{}"', pl.Series(np.array(DEVICES)[rng.integers(0, len(DEVICES), size)]),
                  pl.Series(np.array(COUNTRIES)[rng.integers(0, len(COUNTRIES), size)]))
    ]  # fmt: skip
    if text is not None:
        parts.append(pl.format(',"text":"{}"', text))
    if via is not None:
        named = pl.Series(via)
        parts.append(pl.when(named >= 0).then(pl.format(',"via":"u{}"', named)).otherwise(pl.lit("")))
    if ads is not None:  # every campaign has an advertiser of its own, every person an age that stays
        parts.append(pl.format(',"advertiser":"brand{}","age":"{}"', pl.Series(ads.ads // per_campaign),
                               pl.Series(np.array(AGES)[ads.people % len(AGES)])))  # fmt: skip
    if money is not None:
        parts.append(pl.format(',"amount_minor":{},"currency":"USD"', pl.Series(money)))
    return pl.select(pl.concat_str(*parts, pl.lit("}"))).to_series()


def _frame(
    rng: np.random.Generator, kind: str, milliseconds: Ints, people: Ints, *, object: pl.Series,
    properties: pl.Series, campaign: pl.Series | None = None, topics: pl.Series | None = None,
) -> pl.DataFrame:  # fmt: skip
    size = len(milliseconds)
    return pl.DataFrame(
        {
            "event_id": uuid7(rng, milliseconds),
            "type": pl.repeat(kind, size, eager=True),
            "actor": _named("u", people),
            "object": object,
            "campaign": campaign if campaign is not None else pl.repeat("", size, eager=True),
            "topics": topics if topics is not None else pl.Series([[]] * size, dtype=pl.List(pl.String)),
            "properties": properties,
            "occurred_at": pl.Series(milliseconds).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"),
        },
        schema=CLEAN_SCHEMA,
    )


def uuid7(rng: np.random.Generator, milliseconds: Ints) -> pl.Series:
    """UUIDv7 (RFC 9562) of these times, ms since the epoch, with the random bits drawn from `rng`."""
    size = len(milliseconds)
    raw = rng.integers(0, 256, (size, 16), dtype=np.uint8)
    for byte in range(6):
        raw[:, byte] = (milliseconds >> (8 * (5 - byte))) & 0xFF
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x70
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    text = raw.tobytes().hex()
    hexes = pl.Series([text[i : i + 32] for i in range(0, size * 32, 32)], dtype=pl.String)
    cuts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    return pl.select(pl.concat_str(*(hexes.str.slice(a, n) for a, n in cuts), separator="-")).to_series()
