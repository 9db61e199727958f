"""Checks of `raw_events`: the account balances, the archive is whole, the stores agree, nothing is left behind.

Belongs here: Dagster's side of them. Does not belong here: counting (`assets.raw_events`).

The first two are in every run and look at that run's ranges only, so that they cost milliseconds; the others run when
an hour is closed, and any time from the UI.
"""

from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from assets.archive_index import archived_ranges
from assets.describe.markdown import table
from assets.partitions import HOUR, hour_start
from assets.positions import intersect, merge, subtract, total
from assets.raw_events.account import balanced, by_verdict, explain, reconcile
from assets.raw_events.archiving import covered
from assets.raw_events.ranges import committed, first_time, hour_ranges, unread, window_ranges
from assets.watermark import archive_watermark
from contracts.event_types import TOPICS
from orchestration.checks.audit import REPAIR, as_result, audit_check, audit_positions, opened
from orchestration.checks.hours import given_ranges, ingest_hours
from resources.archive.base import Archive, ArchivePart
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource
from resources.event_log.base import EventLog
from resources.raw_store.base import PositionRange
from serving.audit.engine import AuditReport
from serving.audit.findings import Store
from serving.audit.stores import AuditStores

FRESH_SECONDS = 900.0
"""An archive further behind the log than this is stale. The sensor keeps it under a minute."""


@dg.asset_check(
    asset="raw_events",
    name="accounting_equation",
    blocking=True,
    description=(
        "accepted = stored + duplicate + quarantined, for every offset. When it fails: `tally repair` puts right "
        "exactly what is named, from the log."
    ),
)
def accounting_equation(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Every offset of the hours that the raw group has read has exactly one verdict, and the row that the log has."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        log, raw = stores.log, stores.raw_store
        ranges = given_ranges(context) or _hours_ranges(log, ingest_hours(context))
        ranges = subtract(ranges, unread(ranges, committed(log)))
        account = reconcile(raw, log, ranges)
        content = as_result(audit_positions(stores, "raw store", ranges))
        ok = balanced(account) and content.passed
        words = [explain(account, "raw store"), content.description or ""]
        return dg.AssetCheckResult(
            passed=ok,
            description="; ".join(filter(None, words)) or None,
            metadata={
                **content.metadata,
                "offsets": total(ranges),
                "missing": int(account["missing"].sum()),
                "account": table(by_verdict(account)),
                "holes": table(account.filter(pl.col("missing") != 0).select("topic", "partition", "missing", "holes")),
            },
        )


@dg.asset_check(
    asset="raw_events",
    name="archive_is_whole",
    blocking=True,
    description=(
        "Every part has the bytes and rows its manifest says, the index knows it, and its rows are those that the raw "
        f"store should hold, column by column. {REPAIR}"
    ),
)
def archive_is_whole(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Verify the parts of the hours, those that this run's ranges are in when it was given ranges."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        ranges = given_ranges(context)
        parts = _parts(stores.archive, ingest_hours(context), ranges)
        looked_at = merge([*_hours_ranges(stores.log, ingest_hours(context)), *covered(parts)])
        return as_result(
            audit_positions(stores, "archive", ranges or looked_at),
            parts=len(parts),
            bytes=sum(part.bytes for part in parts),
        )


def _audit_ingest_hours(context: dg.AssetCheckExecutionContext, stores: AuditStores, store: Store) -> AuditReport:
    return audit_positions(stores, store, _hours_ranges(stores.log, ingest_hours(context)))


stores_agree = audit_check(
    "raw_events",
    "stores_agree",
    f"ClickHouse holds what the log's messages say, column by column, as far as the live group has read. {REPAIR}",
    "ClickHouse",
    _audit_ingest_hours,
)
log_is_whole = audit_check(
    "raw_events",
    "log_is_whole",
    "The log still has every message as it was appended, and says what its stores agree on. When it fails: "
    "`tally repair` writes a message again that two stores agree on, and leaves what nothing decides.",
    "event log",
    _audit_ingest_hours,
)


@dg.asset_check(
    asset="raw_events",
    name="no_gaps",
    description=(
        "Every message of the log that is older than the current hour is in the archive. When it fails: materialize "
        "the named ingest hours (select the partitions, one run), which archives exactly what is missing."
    ),
)
def no_gaps(event_log: EventLogResource, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Find positions that no part covers, and propose the backfill."""
    now = datetime.now(UTC)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        gaps = archive_gaps(log, archived_ranges(client), hour_start(now))
        return dg.AssetCheckResult(
            passed=gaps.is_empty(),
            description=None if gaps.is_empty() else "materialize raw_events of " + ", ".join(_hours_of(gaps)),
            metadata={"messages": int(gaps["messages"].sum()), "gaps": table(gaps)},
        )


@dg.asset_check(
    asset="raw_events",
    name="fresh_by_partition",
    description=(
        f"The oldest message that is not archived is under {FRESH_SECONDS / 60:.0f} minutes old, for every partition. "
        "When it fails: is the raw group's worker running, and the event_log_sensor on?"
    ),
)
def fresh_by_partition(event_log: EventLogResource, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """Age of the archive's watermark, and the partitions that hold it back."""
    now = datetime.now(UTC)
    with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
        watermark = archive_watermark(log, client, now)
        age = (now - watermark.at).total_seconds()
        waiting = pl.DataFrame(
            [(r.log_topic, r.log_partition, r.start, r.end - r.start) for r in watermark.waiting],
            schema={"topic": pl.String, "partition": pl.Int64, "from_offset": pl.Int64, "messages": pl.Int64},
            orient="row",
        )
        return dg.AssetCheckResult(
            passed=age <= FRESH_SECONDS,
            severity=dg.AssetCheckSeverity.WARN,
            description=None if age <= FRESH_SECONDS else f"the archive is {age:,.0f} s behind the log",
            metadata={"age_seconds": age, "threshold_seconds": FRESH_SECONDS, "waiting": table(waiting)},
        )


IN_EVERY_RUN = [accounting_equation, archive_is_whole]
RAW_CHECKS = [*IN_EVERY_RUN, stores_agree, log_is_whole, no_gaps, fresh_by_partition]

GAPS_SCHEMA = {
    "ingest_hour": pl.Datetime("ms", "UTC"),
    "topic": pl.String(),
    "partition": pl.Int64(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "messages": pl.Int64(),
}


def archive_gaps(log: EventLog, archived: list[PositionRange], until: datetime) -> pl.DataFrame:
    """Messages appended before `until` that no part covers, by ingest hour (GAPS_SCHEMA)."""
    ends = {topic: log.offsets_at(topic, round(until.timestamp() * 1000)) for topic in TOPICS}
    marks = {topic: log.watermarks(topic) for topic in TOPICS}
    held = [
        PositionRange(topic, partition, low, ends[topic][partition])
        for topic in TOPICS
        for partition, (low, _) in marks[topic].items()
    ]
    rest = subtract(held, archived)
    rows = []
    while rest:
        first = _first_hour(log, rest)
        mine = intersect(rest, window_ranges(log, first, first + HOUR))
        rows += [(first, r.log_topic, r.log_partition, r.start, r.end, r.end - r.start) for r in mine]
        rest = subtract(rest, mine) if mine else []
    return pl.DataFrame(rows, schema=GAPS_SCHEMA, orient="row")


def _first_hour(log: EventLog, ranges: list[PositionRange]) -> datetime:
    return hour_start(first_time(log, ranges) or datetime.now(UTC))


def _hours_ranges(log: EventLog, hours: list[datetime]) -> list[PositionRange]:
    return merge(where for hour in hours for where in hour_ranges(log, hour))


def _parts(store: Archive, hours: list[datetime], ranges: list[PositionRange]) -> list[ArchivePart]:
    parts = [part for hour in hours for part in store.parts(hour)]
    return [part for part in parts if intersect(covered([part]), ranges)] if ranges else parts


def _hours_of(gaps: pl.DataFrame) -> list[str]:
    return [f"{hour:%Y-%m-%d-%H:%M}" for hour in gaps["ingest_hour"].unique().sort()]
