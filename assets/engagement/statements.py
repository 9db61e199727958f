"""The statements that fill, count and compare builds of hours and days, and the checksum of what went into a seal.

Belongs here: SQL text and its hash; no Dagster: the auditor process asks for checksums. Does not belong here: running
them (`build`, `assets.publishing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from assets.publishing.checksum import digest
from resources.clickhouse.sql import render

_COLUMNS = "build_id, bucket, workspace, network, type, dimension, member, events, actors"

_SCOPE = "SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String})"

_SLICES = """
(
    SELECT * FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64} + 3600, 'UTC')
        AND (network, toStartOfHour(event_time), build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)
_HOURS = """
(
    SELECT * FROM engagement_hourly_builds
    WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
        AND (network, bucket, build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)


@cache
def insert_statement(dataset: str) -> str:
    """Fill `<dataset>_builds` for `{build_id:String}` from what its scope names.

    `from_s` and `to_s` are the first and last hour of the sources. Raises KeyError for a dataset that is no rollup.
    """
    macro, source, bucket = {
        "engagement_hourly": ("engagement_rollup", _SLICES, "toStartOfHour(event_time)"),
        "engagement_daily": ("engagement_merge", _HOURS, "toStartOfDay(bucket, 'UTC')"),
    }[dataset]
    select = render(macro, source=source, bucket=bucket)
    head = f"INSERT INTO {dataset}_builds ({_COLUMNS})"
    return f"{head}\nSELECT toUUID({{build_id:String}}), * FROM ({select})"  # our own texts, no values


NUMBERS = """
SELECT bucket, network, count() AS rows, sumIf(events, dimension = 'all') AS events
FROM @table
WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
    AND (network, bucket, build_id) IN
        (SELECT network, bucket, {which} FROM build_scopes WHERE build_id = toUUID({build_id:String}))
GROUP BY bucket, network
"""
CHANGES = """
SELECT change.1 AS metric, bucket, workspace, network, type, dimension, member,
    change.2 AS old_value, change.3 AS new_value
FROM
(
    SELECT
        bucket, workspace, network, type, dimension, member,
        [
            ('events', sumIfOrNull(events, build_id != toUUID({build_id:String})),
                       sumIfOrNull(events, build_id = toUUID({build_id:String}))),
            ('active_actors', sumIfOrNull(actors, build_id != toUUID({build_id:String})),
                              sumIfOrNull(actors, build_id = toUUID({build_id:String})))
        ] AS changes
    FROM
    (
        SELECT build_id, bucket, workspace, network, type, dimension, member,
            toUInt64(events) AS events, finalizeAggregation(actors) AS actors
        FROM @table
        WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
            AND (network, bucket, build_id) IN (@scope)
    )
    GROUP BY bucket, workspace, network, type, dimension, member
)
ARRAY JOIN changes AS change
"""


def seal_checksum(dataset: str, sources: Sequence[tuple[datetime, int]]) -> int:
    """The checksum of a rollup's seal: of its SQL and of its sources' buckets and checksums, in order of time.

    A bucket without sources has 0.
    """
    inputs = [f"{at:%Y-%m-%d %H} {checksum}" for at, checksum in sources]
    return digest([insert_statement(dataset), *inputs]) if inputs else 0
