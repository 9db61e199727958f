"""Compare three stores by log position: a row that is in one and not in another, with its position and id.

Belongs here: the comparison. Does not belong here: which hour, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from assets.positions import intersect, merge
from resources.archive.base import Archive, ArchiveCorruptError, ArchivePart
from resources.clickhouse import Client, query_frame
from resources.event_log.base import TopicPartition
from resources.raw_store.base import PositionRange, RawStore

_POSITION = ["log_topic", "log_partition", "log_offset"]
_IDENTITY = ["workspace", "event_id"]
DIFFERENCE_SCHEMA = {
    "missing_in": pl.String(),
    "log_topic": pl.String(),
    "log_partition": pl.Int32(),
    "log_offset": pl.Int64(),
    "workspace": pl.String(),
    "event_id": pl.String(),
}
"""One row per event that a store lacks although another has it: which store, the event's position and identity."""

RAW_STORE, ARCHIVE, CLICKHOUSE = "raw store", "archive", "ClickHouse"


def broken_parts(archive: Archive, parts: Sequence[ArchivePart]) -> dict[str, str]:
    """What is wrong, by path, with parts whose bytes or rows disagree with their manifest."""
    broken = {}
    for part in parts:
        try:
            archive.verify(part)
        except ArchiveCorruptError as error:
            broken[part.path] = str(error)
    return broken


def compare_archive(archive: Archive, raw_store: RawStore, parts: Sequence[ArchivePart]) -> pl.DataFrame:
    """Events that are in the raw store or in a part, and not in the other (DIFFERENCE_SCHEMA).

    Identities are read only of parts that are broken or whose count of rows is not the raw store's.
    """
    broken = broken_parts(archive, parts)
    found = []
    for part in parts:
        stored = sum(counts.stored for counts in raw_store.verdicts(part.ranges).values())
        if stored == part.rows and part.path not in broken:
            continue
        raw, kept = _raw_ids(raw_store, part.ranges), _part_ids(archive, part)
        found += [_missing(ARCHIVE, raw, kept), _missing(RAW_STORE, kept, raw)]
    return _all(found)


def compare_live(
    raw_store: RawStore,
    clickhouse: Client,
    ranges: Sequence[PositionRange],
    live_commits: Mapping[TopicPartition, int],
) -> pl.DataFrame:
    """Events of the ranges that are in the raw store or in ClickHouse, and not in the other (DIFFERENCE_SCHEMA).

    Only as far as the live group has read: what lies beyond is on its way. Identities are read only of ranges whose
    counts differ. An event that both have, at different positions of its duplicates, is not missing.
    """
    read = [PositionRange(place.topic, place.partition, 0, end) for place, end in live_commits.items()]
    found = []
    for where in intersect(merge(ranges), read):
        stored = raw_store.verdicts([where])[where].stored
        if stored == int(query_frame(clickhouse, _COUNT, where._asdict())["rows"].sum()):
            continue
        raw, live = _raw_ids(raw_store, [where]), _ids(query_frame(clickhouse, _IDS, where._asdict()))
        lost = raw.join(live, on=_POSITION, how="anti")
        elsewhere = _known(clickhouse, lost)
        found += [_missing(CLICKHOUSE, raw, live, elsewhere), _missing(RAW_STORE, live, raw, raw)]
    return _all(found)


_COUNT = """
SELECT count() AS rows FROM events
WHERE log_topic = {log_topic:String} AND log_partition = {log_partition:Int32}
    AND log_offset >= {start:Int64} AND log_offset < {end:Int64}
"""
_IDS = """
SELECT log_topic, log_partition, log_offset, workspace, toString(event_id) AS event_id FROM events
WHERE log_topic = {log_topic:String} AND log_partition = {log_partition:Int32}
    AND log_offset >= {start:Int64} AND log_offset < {end:Int64}
"""
_KNOWN = """
SELECT log_topic, log_partition, log_offset, workspace, toString(event_id) AS event_id FROM events
WHERE (workspace, event_id) IN (SELECT arrayJoin(arrayZip({workspace:Array(String)}, {event_id:Array(UUID)})))
"""
_MOST_LOOKED_UP = 5_000


def _known(clickhouse: Client, ids: pl.DataFrame) -> pl.DataFrame:
    """Those of the events that ClickHouse has at whatever position."""
    some = ids.head(_MOST_LOOKED_UP)
    return _ids(query_frame(clickhouse, _KNOWN, {name: some[name].to_list() for name in _IDENTITY}))


def _raw_ids(raw_store: RawStore, ranges: Sequence[PositionRange]) -> pl.DataFrame:
    frames = [_ids(frame) for frame in raw_store.read_events(ranges)]
    return pl.concat(frames) if frames else _ids(pl.DataFrame(schema=DIFFERENCE_SCHEMA))


def _part_ids(archive: Archive, part: ArchivePart) -> pl.DataFrame:
    """What the object still holds, whatever its manifest says; nothing when it cannot be read at all."""
    try:
        return _ids(pl.read_parquet(f"{archive.url.rstrip('/')}/{part.path}", columns=[*_POSITION, *_IDENTITY]))
    except (OSError, pl.exceptions.PolarsError):
        return _ids(pl.DataFrame(schema=DIFFERENCE_SCHEMA))


def _ids(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(DIFFERENCE_SCHEMA[name]) for name in [*_POSITION, *_IDENTITY])


def _missing(store: str, has: pl.DataFrame, has_not: pl.DataFrame, known: pl.DataFrame | None = None) -> pl.DataFrame:
    lost = has.join(has_not, on=_POSITION, how="anti")
    if known is not None:
        lost = lost.join(known, on=_IDENTITY, how="anti")
    return lost.select(pl.lit(store).alias("missing_in"), *_POSITION, *_IDENTITY)


def _all(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=DIFFERENCE_SCHEMA), *found]).sort(*_POSITION)
