"""What every sealing asset does around its build: leave out what is too early, report, fail for what failed.

Belongs here: the common frame of a partitioned run. Does not belong here: a particular dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from assets.describe.markdown import cell, table
from assets.describe.reports import Metadata, failures
from assets.publishing.staging import BuildReport
from assets.watermark import Watermark, archive_watermark
from resources.clickhouse import Client
from resources.event_log.base import EventLog


def complete_part(
    log: EventLog, clickhouse: Client, scope: pl.DataFrame, length: timedelta
) -> tuple[pl.DataFrame, Watermark]:
    """The pairs of the scope whose bucket is complete, and the watermark that decided.

    Raises dagster.Failure, not to be retried, when none is: a bucket that still fills must not be sealed.
    """
    watermark = archive_watermark(log, clickhouse, datetime.now(UTC))
    ready = watermark.complete(scope, length)
    if ready.is_empty() and not scope.is_empty():
        raise dg.Failure(
            f"no bucket of this run is complete: the first starts at {cell(scope['bucket'].min())} UTC, the archive's "
            f"watermark is {watermark.at:%Y-%m-%d %H:%M:%S} UTC{_held_back(watermark)}",
            allow_retries=False,
        )
    return ready, watermark


def settle(
    context: dg.AssetExecutionContext,
    report: BuildReport,
    *,
    asked: pl.DataFrame,
    watermark: Watermark,
    metadata: Metadata,
    key: Callable[[datetime, str], dg.MultiPartitionKey],
) -> dg.MaterializeResult[None]:
    """Report the run. When some pairs failed, materialize the others one by one, and fail naming those that did."""
    early = asked.join(report.sealed, on=["bucket", "network"], how="anti").join(
        failures_scope(report), on=["bucket", "network"], how="anti"
    )
    metadata = {**metadata, "watermark": dg.MetadataValue.timestamp(watermark.at)}
    if not early.is_empty():
        metadata["not_complete_yet"] = table(early)
    if not report.failed and early.is_empty():
        return dg.MaterializeResult(metadata=metadata)
    for bucket, network in report.sealed.select("bucket", "network").iter_rows():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key(bucket, network), metadata=metadata))
    if report.failed:
        raise dg.Failure(
            f"{len(report.failed)} of {asked.height} buckets were not sealed: "
            + "; ".join(sorted(set(report.failed.values()))[:5]),
            metadata={**metadata, "failed": table(failures(report.failed))},
        )
    raise dg.Failure(
        f"{early.height} of {asked.height} buckets are not complete yet and were left out; the others are sealed",
        metadata=metadata,
        allow_retries=False,
    )


def failures_scope(report: BuildReport) -> pl.DataFrame:
    """The failed pairs as a scope."""
    return pl.DataFrame(list(report.failed), schema=report.sealed.select("bucket", "network").schema, orient="row")


def _held_back(watermark: Watermark) -> str:
    if not watermark.waiting:
        return ""
    where = watermark.waiting[0]
    return f", held back by {where.log_topic}/{where.log_partition} from offset {where.start}"
