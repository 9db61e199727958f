"""Checks of ad performance: nothing earned is lost or invented, segments sum to totals, no rate is impossible.

Belongs here: Dagster's side of them. Does not belong here: the SQL (`dbt_project/macros/ads.sql`).
"""

from contextlib import closing
from datetime import datetime

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from assets.networks import NETWORKS
from assets.partitions import DAY, day_start
from contracts.ads import ad_rules
from orchestration.checks.hours import event_scope
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.dagster_resources import ClickHouseResource
from streaming.publisher.live_ads import hours_known


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
        return verdict_of(unreconciled(client, event_scope(context, list(NETWORKS))))


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
        return verdict_of(uneven_segments(client, event_scope(context, list(NETWORKS))))


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
        return verdict_of(impossible_rates(client, event_scope(context, list(NETWORKS))), dg.AssetCheckSeverity.WARN)


@dg.asset_check(
    asset="ads",
    name="ads_live_equals_sealed",
    description=(
        "What was shown live before a day was sealed is what sealing found, in every measure and segment, for hours to "
        "which nothing was added since. When it fails: a store lost or doubled a row; `tally audit` names it."
    ),
)
def ads_live_equals_sealed(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare the two for every hour of the run's days."""
    with closing(clickhouse.open()) as client:
        return verdict_of(live_differences(client, event_scope(context, list(NETWORKS))))


ADS_CHECKS = [credits_sum_to_revenue, segments_sum_to_totals, more_impressions_than_clicks, ads_live_equals_sealed]


def unreconciled(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks and models whose credits or revenue are not those of their conversions; empty when all are."""
    return _asked(clickhouse, "ad_credits_unreconciled", pairs)


def uneven_segments(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks, dimensions and measures whose members do not sum to the total."""
    return _asked(clickhouse, "ad_segments_uneven", pairs)


def impossible_rates(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Days, networks and campaigns with more valid clicks than impressions."""
    return _asked(clickhouse, "ad_rates_impossible", pairs)


def live_differences(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Facts in which live and published differ, of hours that were made live of all the events there are."""
    first, end = _span(pairs)
    hours = hours_known(clickhouse, ad_rules(), first)
    whole = hours.filter((pl.col("hour") < end) & (pl.col("made_of") == pl.col("reach")))
    given = {"hours_s": whole["hour"].dt.epoch("s").to_list(), "networks": pairs["network"].unique().sort().to_list()}
    return query_frame(clickhouse, render("ads_live_sealed_differences"), given)


def _span(pairs: pl.DataFrame) -> tuple[datetime, datetime]:
    days = sorted({day_start(at) for at in pairs["bucket"]})
    return days[0], days[-1] + DAY


def _asked(clickhouse: Client, macro: str, pairs: pl.DataFrame) -> pl.DataFrame:
    first, end = _span(pairs)
    given = {
        "from_s": int(first.timestamp()),
        "to_s": int(end.timestamp()),
        "networks": pairs["network"].unique().sort().to_list(),
    }
    return query_frame(clickhouse, render(macro), given)


def verdict_of(
    wrong: pl.DataFrame, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """The check's result from what was found wrong."""
    named = "; ".join(", ".join(f"{name} {value}" for name, value in row.items()) for row in wrong.head(3).to_dicts())
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        severity=severity,
        description=named or None,
        metadata={"found": wrong.height, "rows": table(wrong.head(100))},
    )
