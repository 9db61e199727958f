"""Social metrics of posts and accounts: rates per post, relative to followers, engagement rates, best posts, density.

Belongs here: formulas over a frame of posts. Does not belong here: follower readings (`analytics.followers`), comparing
accounts (`analytics.social_benchmark`), stores. Formulas: docs/definitions.md, Social metrics.

Zero posts, followers, reach, impressions or views give null, never 0: nothing was measured.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import polars as pl

Basis = Literal["post_time", "period_end"]
BASES: tuple[Basis, ...] = ("post_time", "period_end")
"""Whose followers a relative metric is over: each post's when it was posted, or the account's at the period's end."""

POST_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("network", "account", "post", "campaign"), pl.String()),
    "posted_at": pl.Datetime("ms", "UTC"),
    **dict.fromkeys(("reactions", "comments", "shares", "clicks", "views", "reach", "impressions"), pl.Int64()),
    "followers_then": pl.Int64(),  # at post time; null where not known
    "followers_end": pl.Int64(),  # of the account at the period's end; null where not known
}
"""A post with what it got. `reach`: distinct people who viewed it."""

RATES = {"conversation_rate": "comments", "amplification_rate": "shares", "applause_rate": "reactions"}
PER_THOUSAND = 1000


def _over(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return pl.when(bottom > 0).then(top / bottom)


def engagements(*, clicks: bool = False) -> pl.Expr:
    """Comments, shares and reactions; with clicks where the metric's id says so."""
    kinds = ["comments", "shares", "reactions", *(["clicks"] if clicks else [])]
    return pl.sum_horizontal(kinds)


def rates(posts: pl.DataFrame, by: str | list[str]) -> pl.DataFrame:
    """`posts` and the three rates per post, by group, and each relative to a thousand followers on both bases.

    `relative_<rate>_<basis>`: the rate over the mean followers of the group's posts (post_time: when each was posted;
    period_end: of their accounts at the end) x 1000. Null where any post's followers are not known: a mean over the
    known ones would be of other posts. Pooled: sums over sums.
    """
    keys = [by] if isinstance(by, str) else by
    size = pl.len().cast(pl.Int64)
    found = posts.group_by(keys, maintain_order=True).agg(
        posts=size,
        **{name: _over(pl.col(column).sum(), size) for name, column in RATES.items()},
        **{f"_{basis}": _known_mean(column) for basis, column in _FOLLOWERS.items()},
    )
    relative = {
        f"relative_{name}_{basis}": _over(pl.col(name) * PER_THOUSAND, pl.col(f"_{basis}"))
        for name in RATES
        for basis in BASES
    }
    return found.with_columns(**relative).drop(f"_{basis}" for basis in BASES)


_FOLLOWERS = {"post_time": "followers_then", "period_end": "followers_end"}


def _known_mean(column: str) -> pl.Expr:
    return pl.when(pl.col(column).null_count() == 0).then(pl.col(column).mean())


def mean_of_ratios(posts: pl.DataFrame, over: str = "network") -> dict[str, float | None]:
    """The mean of each group's own rate, over the groups that have one: beside the pooled one, never instead of it."""
    each = rates(posts, over)
    found = {name: each[name].drop_nulls().mean() for name in RATES}
    return {name: value if isinstance(value, float) else None for name, value in found.items()}


def engagement_rates(posts: pl.DataFrame, by: str | list[str], *, clicks: bool = False) -> pl.DataFrame:
    """Every named variant of the engagement rate, by group; which events count is in the name of the caller's metric.

    By followers, of posts whose followers at post time are known and above 0 (`rated_posts` of `posts`):
    `by_followers_pooled` = sum of engagements / sum of followers; `by_followers_mean_of_posts` = mean of each post's
    rate; `by_followers_mean_of_days` = mean over UTC days of each day's pooled rate. Over all posts: `by_reach`,
    `by_impressions`, `by_views` = sum / sum; reach adds up people per post, so one who saw two posts is in it twice.
    """
    keys = [by] if isinstance(by, str) else by
    done = engagements(clicks=clicks)
    rows = posts.with_columns(
        done=done,
        rate=_over(done, pl.col("followers_then")),
        day=pl.col("posted_at").dt.truncate("1d"),
        known=pl.when(pl.col("followers_then") > 0).then("followers_then"),
    )
    pooled = _over(pl.col("done").filter(pl.col("known").is_not_null()).sum(), pl.col("known").sum())
    by_day = rows.group_by([*keys, "day"]).agg(rate=pooled)
    days = by_day.group_by(keys).agg(by_followers_mean_of_days=pl.col("rate").mean())
    found = rows.group_by(keys, maintain_order=True).agg(
        posts=pl.len().cast(pl.Int64),
        rated_posts=pl.col("rate").count().cast(pl.Int64),
        engagements=pl.col("done").sum(),
        by_followers_pooled=pooled,
        by_followers_mean_of_posts=pl.col("rate").mean(),
        **{f"by_{name}": _over(pl.col("done").sum(), pl.col(name).sum()) for name in ("reach", "impressions", "views")},
    )
    return found.join(days, on=keys, how="left", maintain_order="left")


def ranked_posts(posts: pl.DataFrame, limit: int, *, worst: bool = False, clicks: bool = False) -> pl.DataFrame:
    """The posts with the most engagements (or the fewest), with their rate by followers; ties by time, then id."""
    done = engagements(clicks=clicks)
    rows = posts.with_columns(engagements=done, by_followers=_over(done, pl.col("followers_then")))
    return rows.sort("engagements", "posted_at", "post", descending=[not worst, False, False]).head(limit)


def density(posts: pl.DataFrame, by: str | list[str], length: timedelta) -> pl.DataFrame:
    """Posts per day of a period of this length, days with a post, and the longest silence between two posts."""
    keys = [by] if isinstance(by, str) else by
    gap = pl.col("posted_at").sort().diff().max().dt.total_milliseconds() / 3_600_000
    return posts.group_by(keys, maintain_order=True).agg(
        posts=pl.len().cast(pl.Int64),
        posts_per_day=pl.len() / (length / timedelta(days=1)),
        active_days=pl.col("posted_at").dt.truncate("1d").n_unique().cast(pl.Int64),
        longest_silence_hours=gap,
    )


def campaign_against_usual(posts: pl.DataFrame, campaign: str) -> pl.DataFrame:
    """Two rows, `campaign` and `usual` (the same accounts' other posts), with the rates.

    `<rate>_lift` of the campaign = its rate / the usual one - 1. A kind without posts has nulls, and no lift can be
    told from nothing.
    """
    accounts = posts.filter(pl.col("campaign") == campaign).select("network", "account").unique()
    mine = posts.join(accounts, on=["network", "account"], how="semi")
    kind = pl.when(pl.col("campaign") == campaign).then(pl.lit("campaign")).otherwise(pl.lit("usual")).alias("kind")
    found = pl.DataFrame({"kind": ["campaign", "usual"]}).join(rates(mine.with_columns(kind), "kind"), on="kind",
                                                             how="left", maintain_order="left")  # fmt: skip
    usual = [pl.col(name).filter(pl.col("kind") == "usual").first() for name in RATES]
    lifts = [
        pl.when((pl.col("kind") == "campaign") & (base > 0)).then(pl.col(name) / base - 1).alias(f"{name}_lift")
        for name, base in zip(RATES, usual, strict=True)
    ]
    return found.with_columns(pl.col("posts").fill_null(0)).with_columns(lifts)
