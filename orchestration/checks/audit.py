"""The audit as asset checks: one per comparison, on the asset whose rows it proves.

Belongs here: from a report to a check's result, the checks of slices and rollups. Does not belong here: comparing
(`serving.audit`), the checks of `raw_events` (`raw`). The auditor's findings reach the same checks (`sensors.audit`).
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from assets.networks import NETWORKS
from assets.partitions import HOUR
from orchestration.auditing import audit_stores
from orchestration.checks.hours import event_scope
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource
from resources.raw_store.base import PositionRange
from serving.audit.causes import damaged, named, with_causes
from serving.audit.engine import AuditReport, AuditScope, audit
from serving.audit.findings import Store
from serving.audit.stores import AuditStores

REPAIR = "When it fails: `tally repair` puts right exactly what is named."
SHOWN = 200


@contextmanager
def opened(
    event_log: EventLogResource, raw_store: RawStoreResource, archive: ArchiveResource, clickhouse: ClickHouseResource
) -> Iterator[AuditStores]:
    """All stores for the time of the block."""
    with closing(event_log.open()) as log, closing(raw_store.open()) as raw, closing(clickhouse.open()) as client:
        yield audit_stores(log, raw, archive.open(), client)


def audit_positions(stores: AuditStores, store: Store, ranges: Sequence[PositionRange]) -> AuditReport:
    """Audit one store in these ranges of the log."""
    return audit(stores, AuditScope((store,), ranges))


def as_result(report: AuditReport, **more: int) -> dg.AssetCheckResult:
    """Passed when nothing was found; otherwise the first damaged rows in words, and a table of all findings, damage
    first, then what follows from it. `more`: further metadata."""
    findings = report.findings
    rows = damaged(findings)
    return dg.AssetCheckResult(
        passed=report.clean,
        description="; ".join(named(findings)) or None,
        metadata={
            "rows": sum(result.rows for result in report.stores.values()),
            "findings": rows.height,
            "following": findings.height - rows.height,
            "found": table(with_causes(findings).sort("follows_from", maintain_order=True).head(SHOWN)),
            **more,
        },
    )


def _audit_hours(context: dg.AssetCheckExecutionContext, stores: AuditStores, store: Store) -> dg.AssetCheckResult:
    pairs = event_scope(context, list(NETWORKS))
    first, last = pairs.select(pl.col("bucket").min().alias("first"), pl.col("bucket").max().alias("last")).row(0)
    return as_result(audit(stores, AuditScope((store,), (), first, last + HOUR)))


@dg.asset_check(
    asset="connector_slices",
    name="slices_equal_archive",
    description=f"Published slices hold exactly the archived rows that the first filter admits, by content. {REPAIR}",
)
def slices_equal_archive(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Compare the slices of this run's hours with the archive."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        return _audit_hours(context, stores, "slices")


@dg.asset_check(
    asset="engagement_hourly",
    name="live_equals_events",
    description=f"The live rollups are what `events` gives when it is rolled up again. {REPAIR}",
)
def live_equals_events(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Compare minutes and hours of this run's range with their events."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        return _audit_hours(context, stores, "live rollups")


@dg.asset_check(
    asset="engagement_hourly",
    name="sealed_equals_sources",
    description=f"Published hours and days are what their slices and hours give when rolled up again. {REPAIR}",
)
def sealed_equals_sources(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Compare published rollups of this run's range with the builds they were made from."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        return _audit_hours(context, stores, "sealed rollups")


@dg.asset_check(
    asset="engagement_hourly",
    name="seals_equal_builds",
    description=(
        "Every seal names a build that was made, with its rows, events and checksum; hours are made of the published "
        f"slices, and days of the published hours. {REPAIR}"
    ),
)
def seals_equal_builds(
    context: dg.AssetCheckExecutionContext,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
) -> dg.AssetCheckResult:
    """Compare the seals of this run's range, of all three datasets."""
    with opened(event_log, raw_store, archive, clickhouse) as stores:
        return _audit_hours(context, stores, "seals")


AUDIT_CHECKS = [slices_equal_archive, live_equals_events, sealed_equals_sources, seals_equal_builds]
