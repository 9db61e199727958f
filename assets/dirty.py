"""Which buckets must be sealed: never sealed, or sealed over fewer rows than the archive holds now.

Belongs here: the comparison of the archive's index with the seals. Does not belong here: whether to act on it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from assets.connector_slices.filtering import LATE_HORIZON
from assets.partitions import HOUR, SCOPE_SCHEMA
from assets.publishing.seals import conform
from assets.watermark import Watermark
from resources.clickhouse import Client, query_frame

DIRTY_SCHEMA = {
    **SCOPE_SCHEMA,
    "archived": pl.UInt64(),
    "sealed": pl.UInt64(),
    "first_sealed_at": pl.Datetime("us", "UTC"),
    "written_at": pl.Datetime("ms", "UTC"),
}
"""`archived`: rows the archive holds. `sealed`: rows the newest seal considered. `first_sealed_at` is null if never."""

_DIRTY = """
SELECT held.bucket AS bucket, held.network AS network, held.rows AS archived, sealed.events AS sealed,
    if(sealed.events IS NULL, NULL, sealed.first) AS first_sealed_at, held.written AS written_at
FROM
(
    SELECT event_hour AS bucket, network, sum(rows) AS rows, max(written_at) AS written
    FROM archive_contents FINAL
    WHERE retired = 0
    GROUP BY bucket, network
) AS held
LEFT JOIN
(
    SELECT bucket, network, argMax(events, sealed_at) AS events, min(sealed_at) AS first
    FROM seals
    WHERE dataset = 'connector_slices'
    GROUP BY bucket, network
) AS sealed ON sealed.bucket = held.bucket AND sealed.network = held.network
WHERE sealed.events IS NULL OR held.rows > sealed.events
ORDER BY bucket, network
SETTINGS join_use_nulls = 1
"""


def dirty_hours(clickhouse: Client) -> pl.DataFrame:
    """Every (event hour, network) whose archived rows are not all considered by its newest seal (DIRTY_SCHEMA)."""
    return conform(query_frame(clickhouse, _DIRTY), DIRTY_SCHEMA)


def due(dirty: pl.DataFrame, watermark: Watermark, now: datetime, settle: timedelta = timedelta(0)) -> pl.DataFrame:
    """Those that may be sealed now, with `cause`: "seal" the first time, "late data" after.

    An hour must be complete. A sealed hour is taken again within its horizon only; what comes later is counted as
    beyond horizon by the next build and enters no aggregate. `settle` lets a load in progress finish its hours first.
    """
    complete = watermark.complete(dirty, HOUR).filter(pl.col("written_at") <= pl.lit(now - settle))
    within = pl.col("first_sealed_at").is_null() | (pl.col("first_sealed_at") + LATE_HORIZON > pl.lit(now))
    return complete.filter(within).with_columns(
        pl.when(pl.col("first_sealed_at").is_null()).then(pl.lit("seal")).otherwise(pl.lit("late data")).alias("cause")
    )
