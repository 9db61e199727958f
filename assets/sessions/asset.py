"""The asset `sessions`: what each actor did without a pause, per day it began on and network, sealed.

Belongs here: Dagster's side of it. Does not belong here: the work (`build`).
"""

import time
from contextlib import closing
from dataclasses import replace

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from assets.describe.reports import of_build
from assets.describe.schemas import SESSIONS
from assets.engagement.asset import SealConfig
from assets.networks import EVENT_DAYS
from assets.partitions import event_day_key, scope_of_keys
from assets.run import complete_part, settle
from assets.sessions.build import build_sessions, follow, next_days
from assets.sessions.sources import LENGTH
from resources.dagster_resources import ClickHouseResource, EventLogResource


@dg.asset(
    name="sessions",
    partitions_def=EVENT_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        dg.AssetDep(
            "connector_slices",
            partition_mapping=dg.MultiPartitionMapping(
                {
                    "hour": dg.DimensionPartitionMapping("day", dg.TimeWindowPartitionMapping()),
                    "network": dg.DimensionPartitionMapping("network", dg.IdentityPartitionMapping()),
                }
            ),
        )
    ],
    group_name="sealed",
    owners=["team:analytics"],
    kinds={"clickhouse", "polars"},
    tags={"layer": "aggregate", "domain": "sessions"},
    code_version="1",
    pool="clickhouse_write",
    retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
    metadata={
        "dagster/column_schema": SESSIONS,
        "dagster/table_name": "tally.sessions_builds",
        "dagster/uri": "clickhouse://tally/sessions_builds",
        "docs": dg.MetadataValue.path("docs/sessions.md"),
    },
)
def sessions(
    context: dg.AssetExecutionContext,
    config: SealConfig,
    event_log: EventLogResource,
    clickhouse: ClickHouseResource,
) -> dg.MaterializeResult[None]:
    """Sessions that start on the day, with their path, and the facts that metrics of sessions are made of.

    A session may last 24 hours, so a day is sealed when the next one is over. Days whose first sessions are other ones
    than before, because the day before was sealed again, are sealed again with it.
    """
    began = time.monotonic()
    asked = scope_of_keys(context.partition_keys)
    run_id = context.run.run_id
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        scope, watermark = complete_part(log, client, asked, LENGTH)
        report = build_sessions(client, scope, cause=config.cause, run_id=run_id)
        after = next_days(report.published).join(scope, on=["bucket", "network"], how="anti")
        followed = list(follow(client, after, watermark, cause=config.cause, run_id=run_id))
        metadata = of_build(report, time.monotonic() - began)
        if followed:
            metadata["days_after_sealed_again"] = table(pl.concat(each.sealed for each in followed))
        failed = {pair: reason for each in followed for pair, reason in each.failed.items()}
        report = replace(report, failed={**report.failed, **failed})
        return settle(context, report, asked=asked, watermark=watermark, metadata=metadata, key=event_day_key)
