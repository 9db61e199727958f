"""Posts, rates, engagement, followers, comparisons and economic value of a period.

Belongs here: one function per question. Does not belong here: formulas, SQL text, tables for people.

Posts are those of the period, with what they got until its end; followers are the last counted reading at or before
the moment (each post's time, or the period's end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from analytics.followers import COUNTED, PROVENANCES, READING_SCHEMA, at_each, averages, growth
from analytics.social import POST_SCHEMA, RATES, engagement_rates, mean_of_ratios, rates
from analytics.social_benchmark import OWN_ONLY, compare_accounts
from contracts.accounts import Accounts
from contracts.metric_catalogue import Count, catalogue
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.errors import QueryError, UnknownNameError
from serving.query import MetricQuery, answer

FOLLOWERS_KNOWN_FOR = timedelta(days=30)
"""A reading older than this says nothing about a post."""

COMPARED = (*RATES, "by_followers_pooled", "by_followers_mean_of_posts", "by_reach", "by_views", "by_impressions",
            "posts", "growth", "average_followers")  # fmt: skip
"""What accounts can be compared by; those of OWN_ONLY among own accounts only."""


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)` (UTC) of one workspace (None: all) and network (None: all), of these accounts (none: all)."""

    start: datetime
    end: datetime
    workspace: str | None = None
    network: str | None = None
    accounts: Sequence[str] = ()

    def parameters(self, lead: timedelta = timedelta(0)) -> dict[str, object]:
        return {
            "from_ms": round((self.start - lead).timestamp() * 1000),
            "to_ms": round(self.end.timestamp() * 1000),
            "workspace": self.workspace or "",
            "network": self.network or "",
            "accounts": list(self.accounts),
        }


def readings(client: Client, period: Period, lead: timedelta = timedelta(0)) -> pl.DataFrame:
    """READING_SCHEMA of the period's accounts with their `network`; `lead`: how much before its start, too."""
    found = query_frame(client, render("readings_of_accounts"), period.parameters(lead))
    return found.select("network", *(pl.col(name).cast(dtype) for name, dtype in READING_SCHEMA.items()))


def posts_of(client: Client, period: Period) -> pl.DataFrame:
    """POST_SCHEMA: the period's posts with what they got until its end, and the followers on both bases."""
    found = query_frame(client, render("social_posts"), {**period.parameters(), **_types()})
    known = _by_key(readings(client, period, FOLLOWERS_KNOWN_FOR))
    rows = _by_key(found.cast({"posted_at": POST_SCHEMA["posted_at"]})).with_columns(
        end=pl.lit(period.end).cast(POST_SCHEMA["posted_at"])
    )
    then = at_each(rows, known, "posted_at")
    at_end = at_each(then.rename({"followers_then": "then"}), known, "end")
    named = at_end.rename({"followers_then": "followers_end", "then": "followers_then"})
    return named.with_columns(account=pl.col("name")).select(pl.col(n).cast(t) for n, t in POST_SCHEMA.items())


def rates_of(posts: pl.DataFrame, by: str) -> pl.DataFrame:
    """`rates` by `network`, `account` or `campaign`, then a row `pooled` of all and one `mean of networks`."""
    everything = posts.with_columns(pl.lit("pooled").alias(by))
    rows = [rates(posts, by).sort("posts", by, descending=[True, False]), rates(everything, by)]
    mean = pl.DataFrame([{by: "mean of networks", **mean_of_ratios(posts)}]) if by == "network" else pl.DataFrame()
    return pl.concat([row for row in (*rows, mean) if row.height], how="diagonal_relaxed")


def followers_of(
    client: Client, period: Period, expected_every: timedelta, provenances: Sequence[str] = COUNTED
) -> pl.DataFrame:
    """Averages of followers by readings and by time with coverage, and growth, per `network` and `account`.

    Raises UnknownNameError for a provenance that does not exist.
    """
    for unknown in sorted(set(provenances) - set(PROVENANCES)):
        raise UnknownNameError("provenance", unknown, PROVENANCES)
    found = _by_key(readings(client, period))
    average = averages(
        found, period.start, period.end, expected_every=expected_every, provenances=provenances
    )  # fmt: skip
    grown = growth(found, period.start, period.end, provenances)
    names = found.select("account", "network", "name").unique("account")
    both = average.join(grown, on="account").join(names, on="account").with_columns(account=pl.col("name"))
    return both.drop("name").select("network", "account", pl.exclude("network", "account")).sort("network", "account")


def benchmark(client: Client, period: Period, metric: str, accounts: Accounts) -> pl.DataFrame:
    """Own accounts and competitors by one metric: each one's share of the best and of the average.

    Accounts are `network/account`. Raises UnknownNameError for a metric of no comparison, OwnOnlyError for one that
    only owners know, QueryError for one that no account has.
    """
    if metric not in (*COMPARED, *OWN_ONLY):
        raise UnknownNameError("metric of accounts", metric, (*COMPARED, *OWN_ONLY))
    own = {f"{each.network}/{each.account}" for each in accounts.own}
    both = [f"{each.network}/{each.account}" for each in (*accounts.own, *accounts.competitors)]
    named = pl.DataFrame({"account": both}, schema={"account": pl.String})
    if metric in OWN_ONLY and set(both) - own:
        compare_accounts(named.with_columns(pl.lit(None, pl.Float64).alias(metric)), metric, own)
    if metric == "economic_value":
        raise QueryError("economic_value: sessions belong to a site, not to an account; `tally social value` has it")
    values = _values(client, period, metric)
    joined = named.join(values, on="account", how="left", maintain_order="left")
    filled = joined.with_columns(pl.col("posts").fill_null(0)) if metric == "posts" else joined
    return compare_accounts(filled, metric, own)


def economic_value(client: Client, period: Period) -> pl.DataFrame:
    """The metric `economic_value` per network with its parts, and a row `total`: all goal value / all sessions.

    Columns `network`, `goal_value` (minor units), `sessions`, `value_per_session`; goal values of the networks sum to
    that of the total.
    """
    filters = {"network": [period.network]} if period.network else {}
    frames = []
    for by in (("network",), ()):
        question = MetricQuery(
            "economic_value", by, period.start, period.end, "total", workspace=period.workspace, filters=filters
        )
        found = answer(client, question).frame
        frames.append(found if by else found.with_columns(network=pl.lit("total")))
    columns = {"numerator": "goal_value", "denominator": "sessions", "value": "value_per_session"}
    shown = [each.select("network", *columns).rename(columns) for each in frames]
    return pl.concat([shown[0].sort("network"), shown[1]], how="vertical_relaxed")


def _values(client: Client, period: Period, metric: str) -> pl.DataFrame:
    if metric in ("growth", "average_followers"):
        found = followers_of(client, period, timedelta(days=1))
        column = {"growth": "rate", "average_followers": "by_time"}[metric]
        return found.select(
            pl.concat_str("network", "account", separator="/").alias("account"), pl.col(column).alias(metric)
        )
    posts = posts_of(client, period).with_columns(account=pl.concat_str("network", "account", separator="/"))
    if metric == "clicks":
        return posts.group_by("account").agg(pl.col("clicks").sum())
    every = rates(posts, "account").join(engagement_rates(posts, "account").drop("posts"), on="account")
    return every.select("account", metric)


def _by_key(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose `account` is unique over networks, with the account's own name in `name`."""
    return rows.with_columns(name=pl.col("account"), account=pl.concat_str("network", "account", separator="\n"))


def _types() -> dict[str, list[str]]:
    """Which event types are posts, reactions and so on: as the metrics of these names say."""
    named = ("posts", "reactions", "comments", "shares", "clicks", "views", "impressions")
    measures = {name: catalogue()[name].measure for name in named}
    return {name: list(measure.types) for name, measure in measures.items() if isinstance(measure, Count)}
