"""The audit as asset checks: one per comparison, on the asset whose rows it proves.

Belongs here: from a report to a check's result, the checks of slices and rollups. Does not belong here: comparing
(`serving.audit`), the checks of `raw_events` (`raw`). The auditor's findings reach the same checks (`sensors.audit`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import dagster as dg

from assets.describe.markdown import table
from assets.networks import NETWORKS
from orchestration.auditing import audit_stores
from orchestration.checks.hours import event_scope, period_of
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


Look = Callable[[dg.AssetCheckExecutionContext, AuditStores, Store], AuditReport]
"""Audits one store, as far as the run of a check goes."""


def audit_check(asset: str, name: str, description: str, store: Store, look: Look) -> dg.AssetChecksDefinition:
    """Return the check `name` of `asset`, which audits `store` with `look`."""

    @dg.asset_check(asset=asset, name=name, description=description)
    def check(
        context: dg.AssetCheckExecutionContext,
        event_log: EventLogResource,
        raw_store: RawStoreResource,
        archive: ArchiveResource,
        clickhouse: ClickHouseResource,
    ) -> dg.AssetCheckResult:
        with opened(event_log, raw_store, archive, clickhouse) as stores:
            return as_result(look(context, stores, store))

    return check


def _event_hours(context: dg.AssetCheckExecutionContext, stores: AuditStores, store: Store) -> AuditReport:
    start, end = period_of(event_scope(context, list(NETWORKS)))
    return audit(stores, AuditScope((store,), (), start, end))


AUDIT_CHECKS = [
    audit_check(
        "connector_slices",
        "slices_equal_archive",
        f"Published slices hold exactly the archived rows that the first filter admits, by content. {REPAIR}",
        "slices",
        _event_hours,
    ),
    audit_check(
        "engagement_hourly",
        "live_equals_events",
        f"The live rollups are what `events` gives when it is rolled up again. {REPAIR}",
        "live rollups",
        _event_hours,
    ),
    audit_check(
        "engagement_hourly",
        "sealed_equals_sources",
        f"Published hours and days are what their slices and hours give when rolled up again. {REPAIR}",
        "sealed rollups",
        _event_hours,
    ),
    audit_check(
        "engagement_hourly",
        "seals_equal_builds",
        "Every seal names a build that was made, with its rows, events and checksum; hours are made of the published "
        f"slices, and days of the published hours. {REPAIR}",
        "seals",
        _event_hours,
    ),
]
