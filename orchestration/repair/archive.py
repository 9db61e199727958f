"""Put the archive right: parts that are damaged or gone are written again from the raw store, the index from manifests.

Belongs here: which parts, and in which order. Does not belong here: file formats (`resources.archive`).
"""

from __future__ import annotations

import re
from datetime import datetime

import polars as pl

from assets.archive_index import sync
from assets.raw_events.archiving import archive_ranges, rewrite_part
from resources.archive.ranges import joined
from resources.clickhouse import Client, query_frame
from resources.clickhouse.cluster import changeable
from resources.raw_store.base import PositionRange
from serving.audit.places import hours_of
from serving.audit.stores import AuditStores

_HOUR_OF_PATH = re.compile(r"ingest_date=(\d{4}-\d{2}-\d{2})/ingest_hour=(\d{2})")
_INDEXED = """
SELECT toString(log_topic), log_partition, range_start, range_end
FROM archive_ranges FINAL
WHERE retired = 0 AND ingest_hour = toDateTime({hour_s:Int64}, 'UTC')
"""


def repair_archive(stores: AuditStores, findings: pl.DataFrame) -> int:
    """Write the parts again that findings name; returns how many parts and hours were put right.

    The raw store must be right before. What an ingest hour held is known from the index, if its manifest is gone.
    """
    archive = stores.archive
    _, unreadable = archive.inspect()
    paths = set(findings["place"])
    for path in sorted(set(unreadable) & paths):
        archive.discard(path)
    written = 0
    for hour in sorted(hours_named(findings)):
        for part in archive.parts(hour):
            if part.path in paths:
                rewrite_part(archive, stores.raw_store, part)
                written += 1
        held = query_frame(stores.clickhouse, _INDEXED, {"hour_s": int(hour.timestamp())})
        indexed = joined(PositionRange(*row) for row in held.iter_rows())
        written += len(archive_ranges(archive, stores.raw_store, hour, indexed).written)
        written += _index_again(stores.clickhouse, stores, hour)
    return written


def hours_named(findings: pl.DataFrame) -> set[datetime]:
    """The ingest hours (UTC) that findings about the archive name, by their bucket or their part's path."""
    return hours_of(findings) | {hour for path in set(findings["place"]) if (hour := _hour_of(path))}


def _index_again(client: Client, stores: AuditStores, hour: datetime) -> int:
    """Forget the index of the hour's parts and make it from their manifests."""
    given = {"hour_s": int(hour.timestamp())}
    for table in ("archive_contents", "archive_ranges"):
        where = "ingest_hour = toDateTime({hour_s:Int64}, 'UTC')"
        client.command(
            f"ALTER TABLE {changeable(table)} DELETE WHERE {where} SETTINGS mutations_sync = 2", parameters=given
        )
    return sync(client, stores.archive, hour)


def _hour_of(path: str) -> datetime | None:
    found = _HOUR_OF_PATH.search(path)
    return datetime.fromisoformat(f"{found[1]}T{found[2]}:00:00+00:00") if found else None
