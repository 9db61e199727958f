"""Write down what a new build changes in closed buckets, before it is published.

Belongs here: writing the difference of two builds down. Does not belong here: when to build, what is compared
(a dataset's `Changes`).

Restatements carry the id of the build that brings them. A crash before its publication leaves rows of a build that no
seal names; readers join `seals`, and `purge_unpublished` removes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import NO_BUILD, Build, bounds, conform
from resources.clickhouse import Client, query_frame

_INSERT = """
INSERT INTO restatements
    (dataset, metric, bucket, workspace, network, type, dimension, member, old_value, new_value, cause,
     previous_build_id, build_id, run_id, restated_at)
SELECT
    {dataset:String}, metric, bucket, workspace, network, type, dimension, member, old_value, new_value,
    {cause:String}, previous, toUUID({build_id:String}), {run_id:String}, now64(6, 'UTC')
FROM (SELECT *, @sealed AS sealed_bucket FROM (@changes)) AS changed
ANY LEFT JOIN
(
    SELECT DISTINCT network, bucket AS sealed_bucket, previous_build_id AS previous
    FROM build_scopes
    WHERE build_id = toUUID({build_id:String})
) AS scopes USING (network, sealed_bucket)
WHERE old_value IS DISTINCT FROM new_value
"""
_COUNT = """
SELECT sealed_bucket AS bucket, network, count() AS rows
FROM (SELECT @sealed AS sealed_bucket, network, dataset, build_id FROM restatements FINAL)
WHERE dataset = {dataset:String} AND build_id = toUUID({build_id:String})
    AND sealed_bucket >= toDateTime({from_s:Int64}, 'UTC') AND sealed_bucket <= toDateTime({to_s:Int64}, 'UTC')
GROUP BY sealed_bucket, network
"""
PUBLISHED_SCOPE = """
SELECT network, bucket, arrayJoin([build_id, previous_build_id])
FROM build_scopes
WHERE build_id = toUUID({build_id:String}) AND previous_build_id != toUUID('@none')
""".replace("@none", NO_BUILD)
"""What `changes` compares: the staged builds that have a published one, and that one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The SQL of the differences that a build brings.

    `rows`: `metric, bucket, workspace, network, type, dimension, member, old_value, new_value` of the pairs that
    PUBLISHED_SCOPE names; `{build_id:String}` is the staged build, `from_s` and `to_s` are its first and last bucket.
    `sealed_bucket`: the bucket that `seals` keeps for a row's `bucket`.
    """

    rows: str
    sealed_bucket: str = "bucket"


def restate(clickhouse: Client, build: Build, scope: pl.DataFrame, changes: Changes) -> pl.DataFrame:
    """Record every number that differs between the staged build and the published one of the same pair.

    Returns SCOPE_SCHEMA with `rows`, the number of restatements, for pairs that have any. A member that the older build
    did not have gets a null as its old value, one that is gone a null as its new value.
    """
    if scope.is_empty():
        return pl.DataFrame(schema={**SCOPE_SCHEMA, "rows": pl.UInt64()})
    insert = _INSERT.replace("@sealed", changes.sealed_bucket).replace("@changes", changes.rows)
    count = _COUNT.replace("@sealed", changes.sealed_bucket)
    given = {"dataset": build.dataset, "build_id": build.id, **bounds(scope)}
    clickhouse.command(insert, parameters={**given, "cause": build.cause, "run_id": build.run_id})
    return conform(query_frame(clickhouse, count, given), {**SCOPE_SCHEMA, "rows": pl.UInt64()})
