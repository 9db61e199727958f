"""Where findings are: their log positions as ranges, their hours as periods.

Belongs here: from findings to the places to look at or to write again. Does not belong here: either of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

from contracts.envelope import POSITION_SCHEMA
from resources.raw_store.base import PositionRange
from serving.audit.findings import POSITION

HOUR = timedelta(hours=1)


def positions_of(findings: pl.DataFrame) -> pl.DataFrame:
    """The log positions of findings (POSITION_SCHEMA), each once, in order."""
    placed = findings.filter(pl.col("log_topic") != "", pl.col("log_offset").is_not_null())
    return placed.select(pl.col(name).cast(dtype) for name, dtype in POSITION_SCHEMA.items()).unique().sort(POSITION)


def ranges_of(positions: pl.DataFrame) -> list[PositionRange]:
    """The positions as ranges: neighbours make one."""
    place = ["log_topic", "log_partition"]
    run = (pl.col("log_offset") - pl.int_range(pl.len()).over(place)).alias("run")
    spans = (
        positions.sort(POSITION)
        .with_columns(run)
        .group_by(*place, "run", maintain_order=True)
        .agg(pl.col("log_offset").min().alias("low"), pl.col("log_offset").max().alias("high"))
    )
    return [PositionRange(topic, partition, low, high + 1) for topic, partition, _, low, high in spans.iter_rows()]


def hours_of(findings: pl.DataFrame) -> set[datetime]:
    """The hours (UTC) of the findings' buckets."""
    hours = findings.select(pl.col("bucket").dt.truncate("1h").dt.epoch("s")).to_series().drop_nulls().unique()
    return {datetime.fromtimestamp(second, UTC) for second in hours}


def periods_of(hours: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Hours as periods `[start, end)`: neighbours make one."""
    found: list[tuple[datetime, datetime]] = []
    for hour in sorted(hours):
        if found and found[-1][1] == hour:
            found[-1] = (found[-1][0], hour + HOUR)
        else:
            found.append((hour, hour + HOUR))
    return found
