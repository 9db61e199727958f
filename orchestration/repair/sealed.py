"""Put sealed hours right: build them again from what they are made of, and publish, with restatements.

Belongs here: which buckets. Does not belong here: building (`assets`).
"""

from __future__ import annotations

import uuid

import polars as pl

from assets.connector_slices.build import build_slices
from assets.engagement.build import build_daily, build_hourly
from assets.families import BuildDays, families
from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import newest_seals
from assets.sessions.build import build_sessions
from resources.clickhouse import Client
from resources.clickhouse.cluster import changeable
from serving.audit.stores import AuditStores

CAUSE = "repair"


def repair_sealed(stores: AuditStores, findings: pl.DataFrame) -> int:
    """Build the findings' buckets again, and the hours and days made of them; returns the buckets published.

    Numbers that change are restated with the cause "repair". A bucket that cannot be built keeps its build.
    """
    client = stores.clickhouse
    run_id = f"repair-{uuid.uuid4()}"
    _forget_future(client, findings)
    of_slices = pl.col("place") == "connector_slices"
    slices = _scope(findings.filter(of_slices))
    hours = _scope(findings.filter(of_slices | (pl.col("place") == "engagement_hourly")))
    # An hour that was sealed by hand may have no slice: it gets one, and so an hour that is true.
    bare = hours.join(newest_seals(client, "connector_slices", hours), on=list(SCOPE_SCHEMA), how="anti")
    slices = pl.concat([slices, bare]).unique()
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
    for dataset, build_facts in _facts_builders().items():
        damaged = _scope(findings.filter(pl.col("place") == dataset))
        if not damaged.is_empty():
            published += build_facts(client, damaged, cause=CAUSE, run_id=run_id, force=True).published.height
    return published


def _facts_builders() -> dict[str, BuildDays]:
    return {"sessions": build_sessions, **{family.dataset: family.build for family in families()}}


def _forget_future(client: Client, findings: pl.DataFrame) -> None:
    """Delete seals that are dated ahead: nothing that is published now would be newer than they are."""
    ahead = findings.filter(pl.col("columns") == "sealed_at").select("place", "bucket", "network").unique()
    for dataset, bucket, network in ahead.iter_rows():
        client.command(
            f"ALTER TABLE {changeable('seals')} DELETE "
            "WHERE dataset = {dataset:String} AND network = {network:String} AND "
            "bucket = toDateTime({bucket_s:Int64}, 'UTC') AND sealed_at > now64(6, 'UTC') SETTINGS mutations_sync = 2",
            parameters={"dataset": dataset, "network": network, "bucket_s": int(bucket.timestamp())},
        )


def _scope(findings: pl.DataFrame) -> pl.DataFrame:
    return findings.select(pl.col(name).cast(dtype) for name, dtype in SCOPE_SCHEMA.items()).unique()
