"""The check of trending boards: what was shown is what the day's events say should have been.

Belongs here: Dagster's side of it. Does not belong here: the SQL (`dbt_project/macros/trends.sql`).
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
    asset="trends",
    name="boards_equal_recomputation",
    description=(
        "Topics that the sealed day says were on a board for a minute or more were shown, and none that "
        "should not. When it fails: late events can explain a difference; many differences mean that the publisher "
        "was behind or counted wrongly: compare `tally trends --as-of` with the named quarter of an hour."
    ),
)
def boards_equal_recomputation(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare the history of boards with the facts of the run's days; warn of differences."""
    with closing(clickhouse.open()) as client:
        return verdict_of(history_differences(client, event_scope(context, list(NETWORKS))))


def verdict_of(wrong: pl.DataFrame) -> dg.AssetCheckResult:
    """The check's result from what board history and facts disagree about."""
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"found": wrong.height, "rows": table(wrong.head(100))},
    )


def history_differences(clickhouse: Client, pairs: pl.DataFrame) -> pl.DataFrame:
    """Quarters of an hour and topics about which board history and sealed facts disagree; empty when they agree."""
    days = sorted({day_start(at) for at in pairs["bucket"]})
    given = {
        "from_s": int(days[0].timestamp()),
        "to_s": int((days[-1] + DAY).timestamp()),
        "networks": pairs["network"].unique().sort().to_list(),
    }
    return query_frame(clickhouse, render("trend_history_differences"), given)
