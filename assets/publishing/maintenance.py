"""Clear away what was staged and never published.

Belongs here: deleting builds that no seal names. Does not belong here: published builds; superseded ones answer
`as_of`.
"""

from __future__ import annotations

from datetime import timedelta

from resources.clickhouse import Client, query_frame
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
_DELETIONS = {
    "connector_slices": "DELETE FROM connector_slices_builds WHERE (build_id, toStartOfHour(event_time), network) IN",
    "engagement_hourly": "DELETE FROM engagement_hourly_builds WHERE (build_id, bucket, network) IN",
    "engagement_daily": "DELETE FROM engagement_daily_builds WHERE (build_id, bucket, network) IN",
}
_RESTATEMENTS = "DELETE FROM restatements WHERE dataset = {dataset:String} AND (build_id, bucket, network) IN"
_SCOPES = "DELETE FROM build_scopes WHERE dataset = {dataset:String} AND (build_id, bucket, network) IN"


def purge_unpublished(clickhouse: Client, grace: timedelta = GRACE) -> dict[str, int]:
    """Delete staged pairs that no seal names and that are older than `grace`; return how many pairs per dataset.

    Superseded builds have a seal and stay. Restatements of builds that were never published go too. The scopes go last,
    so that a run that is killed in between finds the same pairs again.
    """
    purged = {}
    for dataset, rows in _DELETIONS.items():
        given = {"dataset": dataset, "grace_s": int(grace.total_seconds())}
        purged[dataset] = query_frame(clickhouse, _NEVER_PUBLISHED, given).height
        if purged[dataset]:
            for deletion in (rows, _RESTATEMENTS, _SCOPES):
                statement = f"{deletion} ({_NEVER_PUBLISHED})"
                clickhouse.command(statement, parameters=given, settings={"lightweight_deletes_sync": 2})
                crashpoint("purge.between_deletions")
    return purged
