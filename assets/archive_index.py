"""ClickHouse's index of the archive: which part holds which event hours, and which log positions are archived.

Belongs here: `archive_contents` and `archive_ranges`, both rebuilt from the manifests at any time. Does not belong
here: the parts themselves (`resources.archive`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from assets.partitions import SCOPE_SCHEMA
from assets.positions import merge
from assets.publishing.seals import bounds, conform
from resources.archive.base import Archive, ArchivePart
from resources.clickhouse import Client, insert_frame, query_frame
from resources.crashpoints import crashpoint
from resources.raw_store.base import PositionRange

CONTENTS_SCHEMA = {
    **SCOPE_SCHEMA,
    "path": pl.String(),
    "ingest_hour": pl.Datetime("ms", "UTC"),
    "rows": pl.UInt64(),
}
"""Rows of one part for one (event hour, network)."""

_INDEXED = """
SELECT path, sha256, sum(rows) AS rows
FROM (SELECT path, sha256, rows FROM archive_contents FINAL
      WHERE ingest_hour = toDateTime({hour_s:Int64}, 'UTC') AND retired = 0)
GROUP BY path, sha256
"""
# Where a column is named like an alias of the same SELECT, ClickHouse takes the alias: hence `indexed.retired`.
_RETIRE_CONTENTS = """
SELECT path, ingest_hour, event_hour, network, rows, sha256, toUInt8(1) AS retired
FROM archive_contents AS indexed FINAL
WHERE indexed.retired = 0 AND path IN {paths:Array(String)}
"""
_RETIRE_RANGES = """
SELECT path, ingest_hour, log_topic, log_partition, range_start, range_end, toUInt8(1) AS retired
FROM archive_ranges AS indexed FINAL
WHERE indexed.retired = 0 AND path IN {paths:Array(String)}
"""
_INDEXED_RANGES = """
SELECT DISTINCT path FROM archive_ranges FINAL
WHERE ingest_hour = toDateTime({hour_s:Int64}, 'UTC') AND retired = 0
"""
_CONTENTS = """
SELECT event_hour AS bucket, network, path, ingest_hour, rows
FROM archive_contents FINAL
WHERE retired = 0 AND event_hour >= toDateTime({from_s:Int64}, 'UTC') AND event_hour <= toDateTime({to_s:Int64}, 'UTC')
"""
_SCOPE = """
SELECT event_hour AS bucket, network
FROM archive_contents FINAL
WHERE retired = 0 AND event_hour >= toDateTime({from_s:Int64}, 'UTC') AND event_hour < toDateTime({to_s:Int64}, 'UTC')
    AND (empty({networks:Array(String)}) OR network IN {networks:Array(String)})
GROUP BY bucket, network
ORDER BY bucket, network
"""
_RANGES = """
SELECT log_topic, log_partition, range_start, range_end
FROM archive_ranges FINAL
WHERE retired = 0
"""


def sync(clickhouse: Client, archive: Archive, hour: datetime) -> int:
    """Make the index say of this ingest hour what the manifests say; return the number of parts that changed.

    New rows and the retirement of replaced ones are one insert, so that no reader counts a row in both.
    """
    parts = {part.path: part for part in archive.parts(hour)}
    hour_s = {"hour_s": round(hour.timestamp())}
    indexed = {
        row["path"]: (row["sha256"], row["rows"]) for row in query_frame(clickhouse, _INDEXED, hour_s).to_dicts()
    }
    ranged = set(query_frame(clickhouse, _INDEXED_RANGES, hour_s)["path"].to_list())
    new = [
        part
        for path, part in parts.items()
        if path not in ranged or (part.contents and indexed.get(path) != (part.sha256, part.rows))
    ]
    gone = sorted((set(indexed) | ranged) - set(parts))
    if not new and not gone:
        return 0
    contents, ranges = _contents_of(new), _ranges_of(new)
    if gone:
        retired = query_frame(clickhouse, _RETIRE_CONTENTS, {"paths": gone})
        contents = pl.concat([contents, conform(retired, dict(contents.schema))])
        retired = query_frame(clickhouse, _RETIRE_RANGES, {"paths": gone})
        ranges = pl.concat([ranges, conform(retired, dict(ranges.schema))])
    if not contents.is_empty():
        insert_frame(clickhouse, "archive_contents", contents)
    crashpoint("archive_index.between_tables")
    insert_frame(clickhouse, "archive_ranges", ranges)
    return len(new) + len(gone)


def contents(clickhouse: Client, scope: pl.DataFrame) -> pl.DataFrame:
    """Which parts hold rows of the scope's (event hour, network) pairs (CONTENTS_SCHEMA)."""
    if scope.is_empty():
        return pl.DataFrame(schema=CONTENTS_SCHEMA)
    found = conform(query_frame(clickhouse, _CONTENTS, bounds(scope)), CONTENTS_SCHEMA)
    return found.join(scope.unique(), on=["bucket", "network"], how="semi")


def scope_between(
    clickhouse: Client, start: datetime, end: datetime, networks: Sequence[str] | None = None
) -> pl.DataFrame:
    """The (event hour, network) pairs with archived rows in `[start, end)` (SCOPE_SCHEMA)."""
    parameters = {
        "from_s": int(start.timestamp()),
        "to_s": int(end.timestamp()),
        "networks": list(networks or ()),
    }
    return conform(query_frame(clickhouse, _SCOPE, parameters), SCOPE_SCHEMA)


def archived_ranges(clickhouse: Client) -> list[PositionRange]:
    """Log positions that the archive accounts for."""
    found = query_frame(clickhouse, _RANGES, {})
    return merge(PositionRange(*row) for row in found.iter_rows())


def _contents_of(parts: Sequence[ArchivePart]) -> pl.DataFrame:
    rows = [
        (part.path, part.ingest_hour, event_hour, network, count, part.sha256, 0)
        for part in parts
        for (event_hour, network), count in part.contents.items()
    ]
    schema = {
        "path": pl.String(),
        "ingest_hour": pl.Datetime("ms", "UTC"),
        "event_hour": pl.Datetime("ms", "UTC"),
        "network": pl.String(),
        "rows": pl.UInt64(),
        "sha256": pl.String(),
        "retired": pl.UInt8(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _ranges_of(parts: Sequence[ArchivePart]) -> pl.DataFrame:
    rows = [(part.path, part.ingest_hour, *where, 0) for part in parts for where in part.ranges]
    schema = {
        "path": pl.String(),
        "ingest_hour": pl.Datetime("ms", "UTC"),
        "log_topic": pl.String(),
        "log_partition": pl.Int32(),
        "range_start": pl.Int64(),
        "range_end": pl.Int64(),
        "retired": pl.UInt8(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
