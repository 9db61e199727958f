"""The asset of a fact dataset: one UTC day and network per partition, made from published slices.

Belongs here: Dagster's side that all fact datasets share. Does not belong here: the work (a family's `build`), which
families there are (`assets.families`).
"""

import time
from contextlib import closing

import dagster as dg
import polars as pl
from pydantic import Field

from assets.describe.reports import of_build
from assets.describe.schemas import FACTS
from assets.families import Family, days_to_build
from assets.networks import EVENT_DAYS
from assets.partitions import DAY, SCOPE_SCHEMA, event_day_key, scope_of_keys
from assets.run import complete_part, settle
from resources.dagster_resources import ClickHouseResource, EventLogResource


class FactConfig(dg.Config):
    """Why this is sealed."""

    cause: str = Field(default="seal", description="Written into seals and restatements: seal, late data, repair, …")


def fact_asset(family: Family, *, domain: str, docs: str, description: str) -> dg.AssetsDefinition:
    """The asset named as the family's dataset. A run also builds the published days that its days have outrun."""

    @dg.asset(
        name=family.dataset,
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
        tags={"layer": "facts", "domain": domain},
        code_version="1",
        pool="clickhouse_write",
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
        metadata={
            "dagster/column_schema": FACTS,
            "dagster/table_name": "tally.facts_builds",
            "dagster/uri": "clickhouse://tally/facts_builds",
            "docs": dg.MetadataValue.path(docs),
        },
        description=description,
    )
    def facts(
        context: dg.AssetExecutionContext,
        config: FactConfig,
        event_log: EventLogResource,
        clickhouse: ClickHouseResource,
    ) -> dg.MaterializeResult[None]:
        began = time.monotonic()
        asked = scope_of_keys(context.partition_keys)
        with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
            ready, watermark = complete_part(log, client, asked, DAY)
            outrun = days_to_build(client, family, ready)
            scope = pl.concat([ready.select(list(SCOPE_SCHEMA)), outrun]).unique(maintain_order=True)
            report = family.build(client, scope, cause=config.cause, run_id=context.run.run_id)
            metadata = of_build(report, time.monotonic() - began)
            return settle(context, report, asked=asked, watermark=watermark, metadata=metadata, key=event_day_key)

    return facts
