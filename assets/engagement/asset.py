"""The assets `engagement_hourly` and `engagement_daily`: who engaged with what, per network, sealed.

Belongs here: Dagster's side of them. Does not belong here: the work (`build`).
"""

import time
from contextlib import closing

import dagster as dg
from pydantic import Field

from assets.describe.reports import of_build
from assets.describe.schemas import DAILY, HOURLY
from assets.engagement.build import build_daily, build_hourly
from assets.networks import EVENT_DAYS, EVENT_HOURS
from assets.partitions import DAY, HOUR, event_day_key, event_hour_key, scope_of_keys
from assets.run import complete_part, settle
from resources.dagster_resources import ClickHouseResource, EventLogResource

_OWNERS = ["team:analytics"]
_RETRIES = dg.RetryPolicy(max_retries=1, delay=5)


class SealConfig(dg.Config):
    """Why this is sealed."""

    cause: str = Field(default="seal", description="Written into seals and restatements: seal, late data, repair, …")


@dg.asset(
    name="engagement_hourly",
    partitions_def=EVENT_HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["connector_slices"],
    group_name="sealed",
    owners=_OWNERS,
    kinds={"clickhouse"},
    tags={"layer": "aggregate", "domain": "engagement"},
    code_version="1",
    pool="clickhouse_write",
    retry_policy=_RETRIES,
    metadata={
        "dagster/column_schema": HOURLY,
        "dagster/table_name": "tally.engagement_hourly_builds",
        "dagster/uri": "clickhouse://tally/engagement_hourly_builds",
        "docs": dg.MetadataValue.path("docs/decisions/0005-publish-builds.md"),
    },
)
def engagement_hourly(
    context: dg.AssetExecutionContext,
    config: SealConfig,
    event_log: EventLogResource,
    clickhouse: ClickHouseResource,
) -> dg.MaterializeResult[None]:
    """Events and distinct actors per hour, workspace, network, type and object, campaign or topic.

    Made from published slices by the same SQL as the live views. What a new build changes in an hour that was sealed
    before is written to `restatements`, old and new, before the build is published. One that changes nothing is not
    published.
    """
    began = time.monotonic()
    asked = scope_of_keys(context.partition_keys)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        scope, watermark = complete_part(log, client, asked, HOUR)
        report = build_hourly(client, scope, cause=config.cause, run_id=context.run.run_id)
        metadata = of_build(report, time.monotonic() - began)
        return settle(context, report, asked=asked, watermark=watermark, metadata=metadata, key=event_hour_key)


@dg.asset(
    name="engagement_daily",
    partitions_def=EVENT_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        dg.AssetDep(
            "engagement_hourly",
            partition_mapping=dg.MultiPartitionMapping(
                {
                    "hour": dg.DimensionPartitionMapping("day", dg.TimeWindowPartitionMapping()),
                    "network": dg.DimensionPartitionMapping("network", dg.IdentityPartitionMapping()),
                }
            ),
        )
    ],
    group_name="sealed",
    owners=_OWNERS,
    kinds={"clickhouse"},
    tags={"layer": "aggregate", "domain": "engagement"},
    code_version="1",
    pool="clickhouse_write",
    retry_policy=_RETRIES,
    metadata={
        "dagster/column_schema": DAILY,
        "dagster/table_name": "tally.engagement_daily_builds",
        "dagster/uri": "clickhouse://tally/engagement_daily_builds",
        "docs": dg.MetadataValue.path("docs/decisions/0005-publish-builds.md"),
    },
)
def engagement_daily(
    context: dg.AssetExecutionContext,
    config: SealConfig,
    event_log: EventLogResource,
    clickhouse: ClickHouseResource,
) -> dg.MaterializeResult[None]:
    """Events and distinct actors per UTC day: sums of the sealed hours, and merged sets of their actors.

    Never a sum of uniques. A day is sealed when it is over and every hour of it with archived events is sealed.
    """
    began = time.monotonic()
    asked = scope_of_keys(context.partition_keys)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        scope, watermark = complete_part(log, client, asked, DAY)
        report = build_daily(client, scope, cause=config.cause, run_id=context.run.run_id)
        metadata = of_build(report, time.monotonic() - began)
        return settle(context, report, asked=asked, watermark=watermark, metadata=metadata, key=event_day_key)
