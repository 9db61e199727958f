"""Ad performance: judged ad events as additive measures by hour and segment.

Belongs here: which measures an event adds to. Does not belong here: judging (`analytics.ad_traffic`), credits
(`analytics.attribution`), ratios (`contracts/metrics`), stores.

Every measure is an integer that adds up over hours, and within a dimension over its members, to the member '' of the
dimension `all`: what an event does not give is `unknown`.
"""

from __future__ import annotations

import polars as pl

from analytics.ad_traffic import AMOUNT_REASONS, REASONS
from contracts.ads import SEGMENTS

FACT_SCHEMA: dict[str, pl.DataType] = {
    "bucket": pl.Datetime("ms", "UTC"),
    **dict.fromkeys(("workspace", "network", "dimension", "member", "measure"), pl.String()),
    "value": pl.Int64(),
}
UNKNOWN = "unknown"

_SUBJECTS = {
    "impressions": "ad.impression",
    "viewable": "ad.viewed",
    "ad_engagements": "ad.engaged",
    "clicks": "ad.clicked",
    "conversions": "ad.converted",
}


def measures() -> dict[str, pl.Expr]:
    """Each measure as a number per judged event; those of a reason are 0 for most rows and are not kept there."""
    valid = pl.col("reason") == ""
    cost = pl.col("type") != "ad.converted"
    every: dict[str, pl.Expr] = {}
    for name, kind in _SUBJECTS.items():
        mine = pl.col("type") == kind
        every[name] = mine & (pl.col("reason") != "duplicate") if name == "conversions" else mine
        every[f"valid_{name}"] = mine & valid
        every |= {f"{name}_{reason}": mine & (pl.col("reason") == reason) for reason in REASONS}
    every["orphan_clicks"] = (pl.col("type") == "ad.clicked") & pl.col("orphan")
    every["orphan_conversions"] = (pl.col("type") == "ad.converted") & pl.col("orphan")
    every["cost_minor"] = pl.when(cost).then("money").otherwise(0)
    every["revenue_minor"] = pl.when(~cost & valid).then("money").otherwise(0)
    every |= {f"amounts_{reason}": pl.col("amount_reason") == reason for reason in AMOUNT_REASONS}
    return {name: number.cast(pl.Int64) for name, number in every.items()}


def ad_facts(judged: pl.DataFrame) -> pl.DataFrame:
    """Sum judged ad events (`analytics.ad_traffic.judge`) into FACT_SCHEMA, by hour; zeros are left out."""
    numbers = measures()
    hour = pl.col("event_time").dt.truncate("1h").alias("bucket")
    rows = judged.select(hour, "workspace", "network", *SEGMENTS, *(n.alias(name) for name, n in numbers.items()))
    parts = []
    for dimension in ("all", *SEGMENTS):
        value = pl.lit("") if dimension == "all" else pl.col(dimension).replace("", UNKNOWN)
        summed = rows.group_by("bucket", "workspace", "network", value.alias("member")).agg(pl.col(list(numbers)).sum())
        keys = ["bucket", "workspace", "network", "member"]
        long = summed.unpivot(on=list(numbers), index=keys, variable_name="measure", value_name="value")
        parts.append(long.filter(pl.col("value") != 0).with_columns(dimension=pl.lit(dimension)))
    return pl.concat(parts).select(pl.col(name).cast(dtype) for name, dtype in FACT_SCHEMA.items())
