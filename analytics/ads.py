"""Ad performance: judged ad events and their credits as additive measures by segment.

Belongs here: which measures an event and a credit add to. Does not belong here: judging (`analytics.ad_traffic`), the
models (`analytics.attribution`), ratios (`contracts/metrics`), stores.

Every measure is an integer that adds up over time, and within a dimension over its members, to the member '' of the
dimension `all`. What an event does not say is `unknown`; what no touch earned is `unattributed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from analytics.attribution import CREDIT_COLUMNS, UNATTRIBUTED, attribute
from contracts.ads import AMOUNT_REASONS, MODELS, REASONS, SEGMENTS, TOUCH_OF_TYPE, AdRules
from contracts.facts import ALL, BUCKET, UNKNOWN

FACT_COLUMNS = ("bucket", "workspace", "network", "dimension", "member", "measure", "value")

_SUBJECTS = {
    "ad_impressions": "ad.impression",
    "ad_views": "ad.viewed",
    "ad_engagements": "ad.engaged",
    "ad_clicks": "ad.clicked",
    "ad_conversions": "ad.converted",
}
_TIME = {"conversion": "converted_at", "ad": "touch_at"}


def event_measures() -> dict[str, pl.Expr]:
    """What a judged event adds to each measure of an event."""
    valid = pl.col("reason") == ""
    is_cost = pl.col("type") != "ad.converted"
    every: dict[str, pl.Expr] = {}
    for name, kind in _SUBJECTS.items():
        mine = pl.col("type") == kind
        # A conversion that is told twice happened once; a second click did happen, and is told apart by its reason.
        every[name] = mine & (pl.col("reason") != "duplicate") if name == "ad_conversions" else mine
        every[f"{name}_valid"] = mine & valid
    for reason in REASONS:
        every[f"ad_events_{reason}"] = pl.col("reason") == reason
        every[f"ad_clicks_{reason}"] = (pl.col("type") == "ad.clicked") & (pl.col("reason") == reason)
    every["ad_clicks_orphan"] = (pl.col("type") == "ad.clicked") & pl.col("orphan")
    every["ad_conversions_orphan"] = (pl.col("type") == "ad.converted") & pl.col("orphan")
    every["ad_cost_minor"] = pl.when(is_cost).then("money").otherwise(0)
    every["ad_revenue_minor"] = pl.when(~is_cost & valid).then("money").otherwise(0)
    every |= {f"ad_amounts_{reason}": pl.col("amount_reason") == reason for reason in AMOUNT_REASONS}
    return {name: number.cast(pl.Int64) for name, number in every.items()}


def credit_measures() -> dict[str, pl.Expr]:
    """What a row of credits adds to each measure of a model."""
    every = {f"credit_{model}": pl.col(f"credit_{model}") for model in MODELS}
    return every | {f"revenue_{model}_minor": pl.col(f"revenue_{model}") for model in MODELS}


def event_facts(judged: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """Sum judged ad events (`analytics.ad_traffic.judge`) into facts by quarter of an hour; zeros are left out.

    `by`: columns to keep apart besides, behind FACT_COLUMNS in the answer.
    """
    return _facts(judged, "event_time", event_measures(), by)


def credit_facts(credits: pl.DataFrame, basis: str, by: Sequence[str] = ()) -> pl.DataFrame:
    """Sum credits (`credits_of`) into facts, dated by `basis`: `conversion`, or `ad` for the time of the touch.

    By ad, what is unattributed has no date and is left out. `by`: as for `event_facts`.
    """
    dated = credits if basis == "conversion" else credits.filter(pl.col("touch_at").is_not_null())
    return _facts(dated, _TIME[basis], credit_measures(), by)


def credits_of(judged: pl.DataFrame, start: datetime, end: datetime, rules: AdRules) -> pl.DataFrame:
    """Attribute the valid conversions of `[start, end)` (UTC) to the valid touches in the frame.

    judged: as `judge` returns it, with the look-back before `start`. Returns a row per (conversion, touchpoint):
    `conversion_id` and `touch_id` are event ids, segments are those of the touch, `revenue_minor` is the conversion's.
    """
    valid = judged.filter(pl.col("reason") == "")
    conversions = valid.filter(
        (pl.col("type") == "ad.converted") & (pl.col("event_time") >= start) & (pl.col("event_time") < end)
    ).select(
        *("workspace", "network", "actor", "advertiser"),
        pl.col("event_id").alias("conversion_id"),
        pl.col("event_time").alias("converted_at"),
        pl.col("money").alias("revenue_minor"),
    )
    touches = valid.filter(pl.col("type").is_in(list(TOUCH_OF_TYPE))).select(
        *("workspace", "network", "actor", "advertiser"),
        pl.col("event_id").alias("touch_id"),
        pl.col("event_time").alias("touch_at"),
        pl.col("type").replace_strict(TOUCH_OF_TYPE, return_dtype=pl.String).alias("kind"),
        pl.col("channel").is_in(list(rules.direct_channels)).alias("direct"),
        *(segment for segment in SEGMENTS if segment != "advertiser"),
    )
    return attribute(conversions, touches, rules)


def _facts(rows: pl.DataFrame, time: str, measures: Mapping[str, pl.Expr], by: Sequence[str]) -> pl.DataFrame:
    bucket = pl.col(time).dt.truncate(BUCKET).alias("bucket")
    given = ["workspace", "network", *by]
    wide = rows.select(bucket, *given, *_members(rows), *(number.alias(name) for name, number in measures.items()))
    keys = ["bucket", *given, "member"]
    parts = []
    for dimension in (ALL, *SEGMENTS):
        member = pl.lit("") if dimension == ALL else pl.col(dimension)
        summed = wide.group_by("bucket", *given, member.alias("member")).agg(pl.col(list(measures)).sum())
        long = summed.unpivot(on=list(measures), index=keys, variable_name="measure", value_name="value")
        parts.append(long.filter(pl.col("value") != 0).with_columns(dimension=pl.lit(dimension)))
    return pl.concat(parts).select(*FACT_COLUMNS, *by)


def _members(rows: pl.DataFrame) -> list[pl.Expr]:
    """The segments of each row: `unknown` where it says nothing, `unattributed` where no touch earned it."""
    named = [pl.col(segment).fill_null("").replace("", UNKNOWN) for segment in SEGMENTS]
    if not set(CREDIT_COLUMNS) <= set(rows.columns):
        return named
    return [
        pl.when(pl.col("kind") == UNATTRIBUTED).then(pl.lit(UNATTRIBUTED)).otherwise(member).alias(segment)
        for segment, member in zip(SEGMENTS, named, strict=True)
    ]
