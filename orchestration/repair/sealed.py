"""Put sealed hours right: build them again from what they are made of, and publish, with restatements.

Belongs here: which buckets. Does not belong here: building (`assets.connector_slices`, `assets.engagement`).
"""

from __future__ import annotations

import uuid

import polars as pl

from assets.connector_slices.build import build_slices
from assets.engagement.build import build_daily, build_hourly
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import newest_seals
from serving.audit.stores import AuditStores

CAUSE = "repair"


def repair_sealed(stores: AuditStores, findings: pl.DataFrame) -> int:
    """Build the findings' buckets again, and the hours and days made of them; returns the buckets published.

    Numbers that change are restated with the cause "repair". A bucket that cannot be built keeps its build.
    """
    client = stores.clickhouse
    run_id = f"repair-{uuid.uuid4()}"
    slices = _scope(findings.filter(pl.col("store") == "slices"))
    hours = _scope(findings.filter((pl.col("store") == "slices") | (pl.col("place") == "engagement_hourly")))
    days = pl.concat(
        [
            hours.with_columns(pl.col("bucket").dt.truncate("1d")),
            _scope(findings.filter(pl.col("place") == "engagement_daily")),
        ]
    ).unique()
    days = newest_seals(client, "engagement_daily", days).select(list(SCOPE_SCHEMA))
    published = 0
    if not slices.is_empty():
        report = build_slices(client, stores.archive, slices, cause=CAUSE, run_id=run_id, force=True)
        published += report.published.height
    for build, scope in ((build_hourly, hours), (build_daily, days)):
        if not scope.is_empty():
            published += build(client, scope, cause=CAUSE, run_id=run_id, force=True).published.height
    return published


def _scope(findings: pl.DataFrame) -> pl.DataFrame:
    return findings.select(pl.col(name).cast(dtype) for name, dtype in SCOPE_SCHEMA.items()).unique()
