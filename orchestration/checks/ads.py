"""Checks of ad performance: nothing earned is lost or invented, segments sum to totals, no rate is impossible.

Belongs here: Dagster's side of them. Does not belong here: the SQL (`dbt_project/macros/ads.sql`).
"""

from contextlib import closing

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from assets.networks import NETWORKS
from assets.partitions import DAY, day_start
from orchestration.checks.hours import event_scope
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.dagster_resources import ClickHouseResource


@dg.asset_check(
    asset="ads",
    name="credits_sum_to_revenue",
    blocking=True,
    description=(
        "In every model the credits of a day are its valid conversions and the credited revenue is their revenue, with "
        "`unattributed`; and `ad_credits` says the same. When it fails: materialize the day again; if it stays, the "
        "named model's weights are wrong (analytics.attribution)."
    ),
)
def credits_sum_to_revenue(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare the facts of a day with each other and with the table of credits."""
    with closing(clickhouse.open()) as client:
        return _result(unreconciled(client, event_scope(context, list(NETWORKS))))


@dg.asset_check(
    asset="ads",
    name="segments_sum_to_totals",
    blocking=True,
    description=(
        "Every measure sums over the members of every dimension, `unknown` and `unattributed` too, to its total. "
        "When it fails: materialize the day again."
    ),
)
def segments_sum_to_totals(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare each dimension with `all`."""
    with closing(clickhouse.open()) as client:
        return _result(uneven_segments(client, event_scope(context, list(NETWORKS))))


@dg.asset_check(
    asset="ads",
    name="more_impressions_than_clicks",
    description=(
        "No campaign has more valid clicks than impressions in a day: a click-through rate over 100 % means that "
        "impressions are lost, doubled clicks are not, or the network sends no impressions. When it fails: compare the "
        "named campaign with what its network reports."
    ),
)
def more_impressions_than_clicks(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Warn of campaigns whose CTR is above 1."""
    with closing(clickhouse.open()) as client:
        return _result(impossible_rates(client, event_scope(context, list(NETWORKS))), dg.AssetCheckSeverity.WARN)


ADS_CHECKS = [credits_sum_to_revenue, segments_sum_to_totals, more_impressions_than_clicks]


def unreconciled(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks and models whose credits or revenue are not those of their conversions; empty when all are."""
    return _asked(clickhouse, "ad_credits_unreconciled", pairs)


def uneven_segments(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks, dimensions and measures whose members do not sum to the total."""
    return _asked(clickhouse, "ad_segments_uneven", pairs)


def impossible_rates(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks and campaigns with more valid clicks than impressions."""
    return _asked(clickhouse, "ad_rates_impossible", pairs)


def _asked(clickhouse: Client, macro: str, pairs: pl.DataFrame) -> pl.DataFrame:
    days = sorted({day_start(at) for at in pairs["bucket"]})
    given = {
        "from_s": int(days[0].timestamp()),
        "to_s": int((days[-1] + DAY).timestamp()),
        "networks": pairs["network"].unique().sort().to_list(),
    }
    return query_frame(clickhouse, render(macro), given)


def _result(wrong: pl.DataFrame, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> dg.AssetCheckResult:
    named = "; ".join(", ".join(f"{name} {value}" for name, value in row.items()) for row in wrong.head(3).to_dicts())
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        severity=severity,
        description=named or None,
        metadata={"found": wrong.height, "rows": table(wrong.head(100))},
    )
