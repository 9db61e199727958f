"""The asset `raw_events`: ingest hours of the event log, reconciled and archived.

Belongs here: Dagster's side of it: partitions, config, metadata. Does not belong here: the work (`process`).
"""

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import polars as pl
from pydantic import Field

from assets.describe.markdown import table
from assets.describe.plots import bars
from assets.describe.reports import Metadata
from assets.describe.schemas import EVENTS
from assets.external import QUARANTINE_TOPIC, RAW_STORE, TOPIC_KEYS
from assets.partitions import INGEST_HOURS, parse_hour
from assets.raw_events.account import balanced, by_verdict, explain
from assets.raw_events.process import HourResult, Stores, archive_hour
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource
from resources.raw_store.base import PositionRange


class RangeToArchive(dg.Config):
    """Log positions `start <= offset < end` of one partition, all appended in the ingest hour."""

    hour: str = Field(description="Ingest hour, a key of this asset's partitions, e.g. 2026-05-01-13:00")
    topic: str
    partition: int
    start: int
    end: int


class RawEventsConfig(dg.Config):
    """What to archive. Empty means: the whole of the partitions, and close those that are over."""

    ranges: list[RangeToArchive] = Field(default_factory=list, description="Exact offset ranges, as the sensor gives")
    wait_seconds: float = Field(default=30.0, description="How long to wait for the raw group to read the ranges")


@dg.asset(
    name="raw_events",
    partitions_def=INGEST_HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[*TOPIC_KEYS, RAW_STORE, QUARANTINE_TOPIC],
    group_name="raw",
    owners=["team:data-platform"],
    kinds={"parquet", "polars"},
    tags={"layer": "raw", "domain": "events", "pii": "true"},
    code_version="1",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
    metadata={
        "dagster/column_schema": EVENTS,
        "dagster/uri": "archive://raw",
        "dagster/table_name": "archive.raw",
        "docs": dg.MetadataValue.path("docs/architecture.md"),
    },
)
def raw_events(
    context: dg.AssetExecutionContext,
    config: RawEventsConfig,
    *,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.MaterializeResult[None]:
    """Every event once, as Parquet parts that prove themselves, by the hour of appending to the event log.

    A run reads exact offset ranges: those in its config (the sensor's), or the whole hour. It waits until the raw group
    has committed past them, checks the account `accepted = stored + duplicate + quarantined`, writes the stored events
    that no part covers yet, and closes an hour that is over by merging its parts. Running it again changes nothing.
    """
    began = time.monotonic()
    keys = [str(key) for key in context.partition_keys]
    given = _by_hour(config.ranges, keys)
    with closing(event_log.open()) as log, closing(raw_store.open()) as raw, closing(clickhouse.open()) as client:
        stores = Stores(log, raw, archive.open(), client)
        results = [
            archive_hour(stores, parse_hour(key), datetime.now(UTC), given.get(key), config.wait_seconds)
            for key in keys
            if not config.ranges or key in given
        ]
        for result in results:
            if not balanced(result.account):
                context.log.error(explain(result.account, "raw store"))
        return dg.MaterializeResult(metadata=describe(results, time.monotonic() - began))


def _by_hour(ranges: Sequence[RangeToArchive], keys: Sequence[str]) -> dict[str, list[PositionRange]]:
    given: dict[str, list[PositionRange]] = {}
    for item in ranges:
        if item.hour not in keys:
            raise ValueError(
                f"the range {item.topic}/{item.partition} [{item.start}, {item.end}) is of the ingest hour "
                f"{item.hour}, which is not among this run's partitions {keys[0]} to {keys[-1]}"
            )
        given.setdefault(item.hour, []).append(PositionRange(item.topic, item.partition, item.start, item.end))
    return given


def describe(results: Sequence[HourResult], seconds: float) -> Metadata:
    """Metadata of archived hours: the account, offset ranges, parts and a plot."""
    accounts = pl.concat([result.account for result in results])
    totals = by_verdict(accounts)
    parts = [part for result in results for part in result.archived.parts]
    written = [part for result in results for part in result.archived.written]
    lags = [result.lag for result in results if result.lag is not None]
    overall = totals.row(-1, named=True)
    metadata: Metadata = {
        "dagster/row_count": sum(part.rows for part in written),
        "dagster/partition_row_count": sum(part.rows for part in parts),
        "accepted": overall["accepted"],
        "stored": overall["stored"],
        "duplicate": overall["duplicate"],
        "quarantined": overall["quarantined"],
        "missing": overall["missing"],
        "bytes": sum(part.bytes for part in parts),
        "parts": len(parts),
        "seconds": round(seconds, 3),
        "waited_seconds": round(sum(result.waited for result in results), 3),
        "closed": ", ".join(f"{result.hour:%Y-%m-%d %H:%M}" for result in results if result.closed),
        "account": table(totals),
        "offset_ranges": dg.MetadataValue.json(
            [
                {"topic": r.log_topic, "partition": r.log_partition, "start": r.start, "end": r.end}
                for result in results
                for r in result.ranges
            ]
        ),
        "parts_written": table(
            pl.DataFrame(
                [(part.path, part.rows, part.bytes, part.sha256) for part in written],
                schema={"path": pl.String, "rows": pl.Int64, "bytes": pl.Int64, "sha256": pl.String},
                orient="row",
            )
        ),
        "plot": _plot(accounts),
    }
    return metadata | ({"lag_seconds": max(lags)} if lags else {})


def _plot(account: pl.DataFrame) -> dg.MarkdownMetadataValue:
    verdicts = ["stored", "duplicate", "quarantined", "missing"]
    per_place = account.group_by("topic", "partition").agg(pl.col(verdicts).sum()).sort("topic", "partition")
    labels = [
        f"{topic.removesuffix('-events')}/{partition}"
        for topic, partition in per_place["topic", "partition"].iter_rows()
    ]
    return bars("Messages per log partition, by verdict", labels, {v: per_place[v].to_list() for v in verdicts})
