"""The asset `connector_slices`: event hours by network, filtered, ready for the aggregates.

Belongs here: Dagster's side of it. Does not belong here: the work (`build`).
"""

import time
from contextlib import closing

import dagster as dg
from pydantic import Field

from assets.connector_slices.build import SOURCE_TIMEOUT, build_slices
from assets.describe.reports import of_build
from assets.describe.schemas import SLICES
from assets.networks import EVENT_HOURS
from assets.partitions import HOUR, event_hour_key, scope_of_keys
from assets.run import complete_part, settle
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource


class SlicesConfig(dg.Config):
    """How to load, and why."""

    cause: str = Field(default="seal", description="Written into seals and restatements: seal, late data, repair, …")
    source_timeout: float = Field(default=SOURCE_TIMEOUT, description="Seconds that one source may take")


@dg.asset(
    name="connector_slices",
    partitions_def=EVENT_HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[dg.AssetDep("raw_events", partition_mapping=dg.AllPartitionMapping())],
    group_name="sealed",
    owners=["team:data-platform"],
    kinds={"clickhouse", "polars"},
    tags={"layer": "slices", "domain": "events", "pii": "true"},
    code_version="1",
    pool="clickhouse_write",
    retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
    metadata={
        "dagster/column_schema": SLICES,
        "dagster/table_name": "tally.connector_slices_builds",
        "dagster/uri": "clickhouse://tally/connector_slices_builds",
        "docs": dg.MetadataValue.path("docs/decisions/0005-publish-builds.md"),
    },
)
def connector_slices(
    context: dg.AssetExecutionContext,
    config: SlicesConfig,
    event_log: EventLogResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.MaterializeResult[None]:
    """First filtering pass: the archived events of an event hour and network that may enter an aggregate.

    Sources are read from the archive in parallel; one that hangs or fails is named and fails alone. Rows that stay out
    (unknown type, impossible time, beyond the 30 days in which a sealed hour takes late rows) are counted by reason.
    The new build becomes visible by one row in `seals`; nothing is published when nothing changed.
    """
    began = time.monotonic()
    asked = scope_of_keys(context.partition_keys)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        scope, watermark = complete_part(log, client, asked, HOUR)
        report = build_slices(
            client,
            archive.open(),
            scope,
            cause=config.cause,
            run_id=context.run.run_id,
            timeout=config.source_timeout,
        )
        metadata = of_build(report, time.monotonic() - began)
        return settle(context, report, asked=asked, watermark=watermark, metadata=metadata, key=event_hour_key)
