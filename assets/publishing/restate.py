"""Write down what a new build changes in closed buckets, before it is published.

Belongs here: the difference of two builds, row by row. Does not belong here: when to build.

Restatements carry the id of the build that brings them. A crash before its publication leaves rows of a build that no
seal names; readers join `seals`, and `purge_unpublished` removes them.
"""

from __future__ import annotations

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.publishing.seals import NO_BUILD, Build, bounds, conform
from resources.clickhouse import Client, query_frame

_CHANGES = """
INSERT INTO restatements
    (dataset, metric, bucket, workspace, network, type, dimension, member, old_value, new_value, cause,
     previous_build_id, build_id, run_id, restated_at)
SELECT
    {{dataset:String}}, change.1, bucket, workspace, network, type, dimension, member, change.2, change.3,
    {{cause:String}}, previous, toUUID({{build_id:String}}), {{run_id:String}}, now64(6, 'UTC')
FROM
(
    SELECT
        bucket, workspace, network, type, dimension, member,
        [
            ('events', sumIfOrNull(events, build_id != toUUID({{build_id:String}})),
                       sumIfOrNull(events, build_id = toUUID({{build_id:String}}))),
            ('active_actors', sumIfOrNull(actors, build_id != toUUID({{build_id:String}})),
                              sumIfOrNull(actors, build_id = toUUID({{build_id:String}})))
        ] AS changes
    FROM
    (
        SELECT build_id, bucket, workspace, network, type, dimension, member,
            toUInt64(events) AS events, finalizeAggregation(actors) AS actors
        FROM {table}
        WHERE bucket >= toDateTime({{from_s:Int64}}, 'UTC') AND bucket <= toDateTime({{to_s:Int64}}, 'UTC')
            AND (network, bucket, build_id) IN
            (
                SELECT network, bucket, arrayJoin([build_id, previous_build_id])
                FROM build_scopes
                WHERE build_id = toUUID({{build_id:String}}) AND previous_build_id != toUUID('{none}')
            )
    )
    GROUP BY bucket, workspace, network, type, dimension, member
)
ARRAY JOIN changes AS change
ANY LEFT JOIN
(
    SELECT DISTINCT network, bucket, previous_build_id AS previous
    FROM build_scopes
    WHERE build_id = toUUID({{build_id:String}})
) AS scopes USING (network, bucket)
WHERE change.2 IS DISTINCT FROM change.3
"""
_COUNT = """
SELECT bucket, network, count() AS rows
FROM restatements FINAL
WHERE dataset = {dataset:String} AND build_id = toUUID({build_id:String})
    AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
GROUP BY bucket, network
"""


def restate(clickhouse: Client, build: Build, scope: pl.DataFrame) -> pl.DataFrame:
    """Record every number that differs between the staged build and the published one of the same pair.

    Returns SCOPE_SCHEMA with `rows`, the number of restatements, for pairs that have any. A member that the older build
    did not have gets a null as its old value, one that is gone a null as its new value.
    """
    if scope.is_empty():
        return pl.DataFrame(schema={**SCOPE_SCHEMA, "rows": pl.UInt64()})
    sql = _CHANGES.format(table=f"{build.dataset}_builds", none=NO_BUILD)
    given = {"dataset": build.dataset, "build_id": build.id, **bounds(scope)}
    clickhouse.command(sql, parameters={**given, "cause": build.cause, "run_id": build.run_id})
    return conform(query_frame(clickhouse, _COUNT, given), {**SCOPE_SCHEMA, "rows": pl.UInt64()})
