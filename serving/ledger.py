"""The account: every log offset a group has taken has exactly one verdict, or is named here.

Belongs here: offsets against verdicts per group, topic and partition, for ClickHouse (group `live`) and the raw store
(group `raw`). Does not belong here: the SQL (dbt_project/macros/quality.sql), printing.

The equation is `taken = stored + duplicate + quarantined` over `[0, committed)`. It is checked on the positions, not on
counters: a hole and a doubled offset do not cancel out. In ClickHouse a chunk of offsets is right if its count, the sum
of its offsets and the sum of their squares are those of an unbroken range; only other chunks are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from contracts.event_types import TOPICS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.event_log.base import EventLog, TopicPartition
from resources.raw_store.base import PositionRange, RawStore

LIVE_GROUP = "live"
RAW_GROUP = "raw"

CHUNK = 1_000_000
"""Offsets per chunk of the check in ClickHouse."""

LISTED = 1000
"""At most so many holes are listed per row; `missing` counts all of them."""

LEDGER_SCHEMA: dict[str, pl.DataType] = {
    "group": pl.String(),
    "topic": pl.String(),
    "partition": pl.Int32(),
    "start": pl.Int64(),
    "end": pl.Int64(),  # what the group has committed: every offset before it must have its verdict
    "taken": pl.Int64(),
    "stored": pl.Int64(),
    "duplicate": pl.Int64(),
    "quarantined": pl.Int64(),
    "missing": pl.Int64(),  # offsets without a verdict
    "doubled": pl.Int64(),  # verdicts beyond the first of an offset
    "lag": pl.Int64(),  # offsets in the log that the group has not taken yet
    "balanced": pl.Boolean(),
    "holes": pl.List(pl.Int64()),  # the first missing offsets
}

_WRAP = 1 << 64


@dataclass(frozen=True, slots=True)
class _Verdicts:
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    missing: int = 0
    doubled: int = 0
    holes: tuple[int, ...] = ()


def ledger(
    event_log: EventLog, raw_store: RawStore | None, clickhouse: Client | None, topics: Sequence[str] = TOPICS
) -> pl.DataFrame:
    """Return the account (LEDGER_SCHEMA), a row per group, topic and partition; a store given as None is left out."""
    rows: list[dict[str, object]] = []
    if clickhouse is not None:
        ends = _taken(event_log, LIVE_GROUP, topics)
        live = _live_verdicts(clickhouse, ends)
        rows += (_row(LIVE_GROUP, where, live[where], high) for where, high in _heads(ends, event_log, topics))
    if raw_store is not None:
        ends = _taken(event_log, RAW_GROUP, topics)
        raw = {where: _raw_verdicts(raw_store, where) for where in ends}
        rows += (_row(RAW_GROUP, where, raw[where], high) for where, high in _heads(ends, event_log, topics))
    return pl.DataFrame(rows, schema=LEDGER_SCHEMA)


def _taken(event_log: EventLog, group: str, topics: Sequence[str]) -> list[PositionRange]:
    commits = event_log.group_commits(group)
    ranges = []
    for topic in topics:
        for partition in range(event_log.partitions(topic)):
            commit = commits.get(TopicPartition(topic, partition))
            ranges.append(PositionRange(topic, partition, 0, commit.offset if commit else 0))
    return ranges


def _heads(
    ranges: Sequence[PositionRange], event_log: EventLog, topics: Sequence[str]
) -> Iterator[tuple[PositionRange, int]]:
    """Pair each range with its partition's high watermark, read after the verdicts: lag is never negative."""
    marks = {topic: event_log.watermarks(topic) for topic in topics}
    for where in ranges:
        yield where, marks[where.log_topic].get(where.log_partition, (0, 0))[1]


def _row(group: str, where: PositionRange, found: _Verdicts, high: int) -> dict[str, object]:
    return {
        "group": group,
        "topic": where.log_topic,
        "partition": where.log_partition,
        "start": where.start,
        "end": where.end,
        "taken": where.end - where.start,
        "stored": found.stored,
        "duplicate": found.duplicate,
        "quarantined": found.quarantined,
        "missing": found.missing,
        "doubled": found.doubled,
        "lag": max(high - where.end, 0),
        "balanced": found.missing == 0 and found.doubled == 0,
        "holes": list(found.holes),
    }


def _raw_verdicts(store: RawStore, where: PositionRange) -> _Verdicts:
    """The raw store keys verdicts by position: none can be doubled, and a wrong total shows every hole."""
    counts = store.verdicts([where])[where]
    missing = where.end - where.start - counts.total
    holes = tuple(store.missing_offsets(where, LISTED)) if missing else ()
    return _Verdicts(counts.stored, counts.duplicate, counts.quarantined, max(missing, 0), max(-missing, 0), holes)


def _live_verdicts(client: Client, ranges: Sequence[PositionRange]) -> dict[PositionRange, _Verdicts]:
    by_place = {(where.log_topic, where.log_partition): where for where in ranges}
    parameters = {
        "places": [f"{where.log_topic}/{where.log_partition}" for where in ranges],
        "ends": [where.end for where in ranges],
    }
    condition = (
        "log_offset < transform(concat(log_topic, '/', toString(log_partition)), "
        "{places:Array(String)}, {ends:Array(Int64)}, toInt64(0))"
    )
    found = query_frame(client, render("position_account", chunk=CHUNK, condition=condition), parameters)
    chunks = {(row["log_topic"], row["log_partition"], row["chunk"]): row for row in found.to_dicts()}
    verdicts = {}
    for (topic, partition), where in by_place.items():
        mine = [row for (t, p, _), row in chunks.items() if (t, p) == (topic, partition)]
        whole = {piece: chunks.get((topic, partition, piece.start // CHUNK)) for piece in _pieces(where)}
        wrong = [piece for piece, found_here in whole.items() if not _unbroken(piece, found_here)]
        holes, missing, doubled = _unbalanced(client, wrong)
        verdicts[where] = _Verdicts(
            stored=sum(row["stored"] for row in mine),
            duplicate=sum(row["duplicate"] for row in mine),
            quarantined=sum(row["quarantined"] for row in mine),
            missing=missing,
            doubled=doubled,
            holes=holes,
        )
    return verdicts


def _pieces(where: PositionRange) -> Iterator[PositionRange]:
    for start in range(where.start - where.start % CHUNK, where.end, CHUNK):
        yield where._replace(start=max(start, where.start), end=min(start + CHUNK, where.end))


def _unbroken(piece: PositionRange, found: dict[str, int] | None) -> bool:
    """True if the chunk's count and sums are those of every offset of `piece`, each once."""
    if found is None:
        return False
    count = found["stored"] + found["duplicate"] + found["quarantined"]
    below, upto = piece.start - 1, piece.end - 1
    total = upto * (upto + 1) // 2 - below * (below + 1) // 2
    squares = upto * (upto + 1) * (2 * upto + 1) // 6 - below * (below + 1) * (2 * below + 1) // 6
    return (
        count == piece.end - piece.start
        and found["offset_sum"] == total % _WRAP
        and found["offset_square_sum"] == squares % _WRAP
    )


def _unbalanced(client: Client, pieces: Sequence[PositionRange]) -> tuple[tuple[int, ...], int, int]:
    """Look at the offsets of wrong chunks one by one: (first holes, number of holes, verdicts too many)."""
    holes: list[int] = []
    missing = doubled = 0
    for piece in pieces:
        condition = (
            "log_topic = {topic:String} AND log_partition = {partition:Int32} "
            "AND log_offset >= {start:Int64} AND log_offset < {end:Int64}"
        )
        sql = render("unbalanced_offsets", condition=condition, start="{start:Int64}", end="{end:Int64}")
        parameters = {
            "topic": piece.log_topic,
            "partition": piece.log_partition,
            "start": piece.start,
            "end": piece.end,
        }
        found = query_frame(client, f"SELECT * FROM ({sql}) ORDER BY log_offset", parameters)  # noqa: S608 - rendered
        gone = found.filter(pl.col("verdicts") == 0).get_column("log_offset")
        missing += gone.len()
        doubled += int(found.filter(pl.col("verdicts") > 1).select((pl.col("verdicts") - 1).sum()).item() or 0)
        holes += gone.head(max(LISTED - len(holes), 0)).to_list()
    return tuple(holes), missing, doubled
