"""Clear away what was staged and never published.

Belongs here: deleting builds that no seal names. Does not belong here: published builds; superseded ones answer
`as_of`.
"""

from __future__ import annotations

from datetime import timedelta

from resources.clickhouse import Client, query_frame
from resources.clickhouse.builds import FACT_TABLES
from resources.clickhouse.cluster import changeable
from resources.crashpoints import crashpoint

GRACE = timedelta(days=1)
"""A build younger than this may still be on its way to publication."""

_NEVER_PUBLISHED = """
SELECT build_id, bucket, network
FROM build_scopes
WHERE dataset = {dataset:String} AND staged_at < now64(3, 'UTC') - INTERVAL {grace_s:Int64} SECOND
    AND (build_id, bucket, network) NOT IN
        (SELECT build_id, bucket, network FROM seals WHERE dataset = {dataset:String})
"""
# A build id is of one dataset: tables that several share need no other condition.
_DELETE = "DELETE FROM {table} WHERE (build_id, {bucket}, network) IN ({never_published})"
_DAY = "toStartOfDay(bucket, 'UTC')"
_ROWS: dict[str, dict[str, str]] = {
    "connector_slices": {"connector_slices_builds": "toStartOfHour(event_time)"},
    "engagement_hourly": {"engagement_hourly_builds": "bucket"},
    "engagement_daily": {"engagement_daily_builds": "bucket"},
    **{dataset: {**tables, "build_contents": "bucket"} for dataset, tables in FACT_TABLES.items()},
}
"""Tables with rows of a dataset's builds, and the SQL of the bucket that `seals` keeps for a row."""
_SEALED_BUCKET_OF_RESTATEMENT = dict.fromkeys(FACT_TABLES, _DAY)


def purge_unpublished(clickhouse: Client, grace: timedelta = GRACE) -> dict[str, int]:
    """Delete staged pairs that no seal names and that are older than `grace`; return how many pairs per dataset.

    Superseded builds have a seal and stay. Restatements of builds that were never published go too. The scopes go last,
    so that a run that is killed in between finds the same pairs again.
    """
    purged: dict[str, int] = {}
    for dataset, tables in _ROWS.items():
        given = {"dataset": dataset, "grace_s": int(grace.total_seconds())}
        purged[dataset] = query_frame(clickhouse, _NEVER_PUBLISHED, given).height
        if purged[dataset]:
            restated = {"restatements": _SEALED_BUCKET_OF_RESTATEMENT.get(dataset, "bucket")}
            for table, bucket in [*tables.items(), *restated.items(), ("build_scopes", "bucket")]:
                statement = _DELETE.format(table=changeable(table), bucket=bucket, never_published=_NEVER_PUBLISHED)
                clickhouse.command(statement, parameters=given, settings={"lightweight_deletes_sync": 2})
                crashpoint("purge.between_deletions")
    return purged
