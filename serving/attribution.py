"""Attribution answered: six models side by side, from one table of credits; and segments of ads with few people hidden.

Belongs here: asking for credits and for people, and what makes an answer mature. Does not belong here: the models
(`analytics.attribution`), metrics of one number each (`serving.query` answers these from facts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from contracts.ads import MODELS, SEGMENTS, ad_rules
from contracts.facts import BUCKET
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from serving.errors import QueryError, UnknownNameError

Basis = Literal["conversion", "ad"]
BASES: tuple[Basis, ...] = ("conversion", "ad")

UNATTRIBUTED = "unattributed"
TOTAL = "total"
COLUMNS = tuple(f"{kind}_{model}" for kind in ("credit", "revenue") for model in MODELS)


@dataclass(frozen=True, slots=True)
class AttributionQuery:
    """What is asked: `[start, end)` (UTC) by the time of conversions, or of the ads that earned them."""

    start: datetime
    end: datetime
    basis: Basis = "conversion"
    by: str = "campaign"
    workspace: str | None = None
    network: str | None = None
    members: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """`frame`: `member`, its `conversions` (distinct, touched or not), credits and revenue by model; the last row is
    `total`, the one before it `unattributed` (by conversion only). `maturity`: the share of the look-back of the
    range's touches that had passed at the newest conversion time known; by conversion nothing is left to come, 1.
    """

    query: AttributionQuery
    frame: pl.DataFrame
    maturity: float | None
    rules_version: int
    currency: str


def compare(client: Client, query: AttributionQuery, settled: datetime | None) -> Attribution:
    """Answer with all models side by side. `settled`: how far events are complete (`serving.progress`).

    Raises UnknownNameError for a segment or basis that does not exist, QueryError for an empty range.
    """
    if query.by not in SEGMENTS:
        raise UnknownNameError("segment of ads", query.by, SEGMENTS)
    if query.basis not in BASES:
        raise UnknownNameError("basis of attribution", query.basis, BASES)
    if query.start >= query.end:
        raise QueryError(f"range: {query.start.isoformat()} is not before {query.end.isoformat()}")
    rules = ad_rules()
    given = _parameters(query.start, query.end, query.workspace, query.network)
    found = query_frame(client, render("attribution_by_segment", by=query.by, basis=query.basis), given)
    found = found.with_columns(pl.col("conversions", *COLUMNS).cast(pl.Int64))
    total = found.filter(pl.col("is_total") == 1).with_columns(member=pl.lit(TOTAL))
    rows = found.filter(pl.col("is_total") == 0)
    rest = rows.filter(pl.col("member") == UNATTRIBUTED)
    named = rows.filter(pl.col("member") != UNATTRIBUTED).sort("revenue_last", "member", descending=[True, False])
    if query.members:
        unknown = [name for name in query.members if name not in set(named["member"])]
        if unknown:
            raise UnknownNameError(f"{query.by} in this range", unknown[0], named["member"])
        named = named.filter(pl.col("member").is_in(list(query.members)))
    look_back = timedelta(hours=rules.longest_look_back_hours)
    return Attribution(
        query=query,
        frame=pl.concat([named, rest, total.head(1)]).select("member", "conversions", *COLUMNS),
        maturity=1.0 if query.basis == "conversion" else maturity(query.start, query.end, settled, look_back),
        rules_version=rules.version,
        currency=rules.currency,
    )


def maturity(start: datetime, end: datetime, settled: datetime | None, look_back: timedelta) -> float | None:
    """The mean share of the look-back that has passed, over touches spread evenly in `[start, end)`; None if unknown.

    0: no touch of the range has had any time to earn; 1: no conversion that could still come can change it.
    """
    if settled is None:
        return None
    first, last = ((settled - at) / look_back for at in (start, end))  # shares passed for the first and last touch

    def passed(upto: float) -> float:
        """The integral of the clipped share from minus infinity to `upto`."""
        clipped = min(max(upto, 0.0), 1.0)
        return clipped * clipped / 2 + max(upto - 1.0, 0.0)

    return (passed(first) - passed(last)) / (first - last)


MEASURES = (
    *("ad_impressions", "ad_impressions_valid", "ad_views_valid", "ad_clicks", "ad_clicks_valid"),
    *("ad_conversions_valid", "ad_cost_minor", "ad_revenue_minor"),
)
SHOWN = ("people", *MEASURES)


def segments(
    client: Client, start: datetime, end: datetime, by: str, *, workspace: str | None = None, network: str | None = None
) -> pl.DataFrame:
    """Ad performance by segment: `member`, SHOWN, ratios, and `hidden` where fewer people than the rules ask are in it.

    A hidden segment shows its name and nothing else; what it holds is in the row `total`. Where only one would be
    hidden, the next smallest is too, so that nothing can be worked out by subtraction. People are distinct actors;
    everything else is from facts. Raises UnknownNameError, and QueryError for a time within a quarter of an hour.
    """
    if by not in SEGMENTS:
        raise UnknownNameError("segment of ads", by, SEGMENTS)
    for name, moment in (("start", start), ("end", end)):
        if moment.timestamp() % BUCKET.total_seconds():
            raise QueryError(f"range: {name} {moment.isoformat()}: ads are kept by quarters of an hour")
    given = _parameters(start, end, workspace, network)
    found = query_frame(client, render("ad_segments", by=by, measures=MEASURES), given)
    rows = found.select("member", pl.col(SHOWN).cast(pl.Int64)).sort(
        "ad_impressions", "ad_clicks", "member", descending=[True, True, False]
    )
    total = query_frame(client, render("ad_segments", by="", measures=MEASURES), given)
    total = total.select(pl.lit(TOTAL).alias("member"), pl.col(SHOWN).cast(pl.Int64))
    rows = rows.with_columns(hidden=_hidden(rows, ad_rules().smallest_segment))
    shown = pl.concat([rows, total.with_columns(hidden=pl.lit(value=False))])
    kept = [pl.when(~pl.col("hidden")).then(pl.col(name)).alias(name) for name in SHOWN]
    return shown.with_columns(kept).with_columns(**_ratios())


def _hidden(rows: pl.DataFrame, smallest: int) -> pl.Series:
    """Segments of fewer people than `smallest`; where that is one alone, the next smallest too."""
    hidden = rows["people"] < smallest
    if hidden.sum() == 1 and rows.height > 1:
        shown = rows.with_row_index("row").filter(~hidden).sort("people", "member")["row"][0]
        hidden[shown] = True
    return hidden


def _ratios() -> Mapping[str, pl.Expr]:
    def over(top: str, bottom: str, factor: int = 1) -> pl.Expr:
        return pl.when(pl.col(bottom) > 0).then(factor * pl.col(top) / pl.col(bottom))

    return {
        "ctr": over("ad_clicks", "ad_impressions"),
        "ctr_valid": over("ad_clicks_valid", "ad_impressions_valid"),
        "ctr_viewable": over("ad_clicks_valid", "ad_views_valid"),
        "cpm": over("ad_cost_minor", "ad_impressions", 1000),
        "cpc": over("ad_cost_minor", "ad_clicks_valid"),
        "cpa": over("ad_cost_minor", "ad_conversions_valid"),
        "cvr": over("ad_conversions_valid", "ad_clicks_valid"),
    }


def _parameters(start: datetime, end: datetime, workspace: str | None, network: str | None) -> dict[str, object]:
    return {
        "from_ms": round(start.timestamp() * 1000),
        "to_ms": round(end.timestamp() * 1000),
        "workspace": workspace or "",
        "network": network or "",
    }
