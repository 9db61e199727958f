"""What raw store, archive and ClickHouse say about log positions, and whether two such statements agree.

Belongs here: reading and comparing statements. Does not belong here: whom to believe (`judge`).

A statement is partial: ClickHouse keeps no `raw`, a duplicate's verdict no content. Two statements agree when what both
of them tell is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from contracts.envelope import STORED_SCHEMA
from contracts.rejects import STORED_REJECT_SCHEMA
from resources.archive.ranges import common
from resources.raw_store.base import PositionRange
from serving.audit.archive import ArchiveState
from serving.audit.clickhouse_rows import events_at, verdicts_at
from serving.audit.places import ranges_of
from serving.audit.stores import AuditStores
from serving.audit.truth import archived_rows

Place = tuple[str, int, int]
Kind = Literal["event", "duplicate", "quarantined"]
Witness = Literal["event log", "raw store", "archive", "ClickHouse"]

STORE_REFUSED = "store_refused"
"""The reason of a row that a store would not take: true of that store alone, and told by it alone."""

_RANGES_AT_ONCE = 200
_IDENTITY = ("workspace", "event_id", "receipt_id", "network", "received_at")
_SENDER = ("workspace", "receipt_id", "network", "received_at")
# Words of the release that read the message.
_WORDS = ("reason", "detail", "field", "place", "verdict", "event_id")


@dataclass(frozen=True, slots=True)
class Statement:
    """`row`: the columns that the witness keeps, by the contracts' names."""

    witness: Witness
    kind: Kind
    row: Mapping[str, Any]


def read_statements(stores: AuditStores, positions: pl.DataFrame, state: ArchiveState) -> dict[Place, list[Statement]]:
    """What the stores say about the positions (POSITION_SCHEMA). Of the archive only whole parts are asked."""
    said: dict[Place, list[Statement]] = {}
    for some in _some(ranges_of(positions)):
        whole = [part for part in state.parts if part.path not in state.broken and common(part.ranges, some)]
        raw, verdicts = stores.raw_store, verdicts_at(stores.clickhouse, some)
        frames: list[tuple[Witness, Kind, pl.DataFrame]] = [
            *(("raw store", "event", frame) for frame in raw.read_events(some)),
            ("raw store", "duplicate", raw.read_duplicates(some)),
            ("raw store", "quarantined", raw.read_refused(some).select(list(STORED_REJECT_SCHEMA))),
            ("archive", "event", archived_rows(stores, whole, some)),
            ("ClickHouse", "event", events_at(stores.clickhouse, some)),
            ("ClickHouse", "duplicate", verdicts.filter(pl.col("verdict") == "duplicate")),
            ("ClickHouse", "quarantined", verdicts.filter(pl.col("verdict") == "quarantined")),
        ]
        for witness, kind, frame in frames:
            for place, row in _rows(frame):
                if all(other.witness != witness for other in said.setdefault(place, [])):
                    said[place].append(Statement(witness, kind, row))
    return said


def log_statements(events: pl.DataFrame, rejects: pl.DataFrame) -> dict[Place, Statement]:
    """What the log's messages say, decoded (STORED_SCHEMA and STORED_REJECT_SCHEMA)."""
    said = {place: Statement("event log", "event", row) for place, row in _rows(events)}
    return said | {place: Statement("event log", "quarantined", row) for place, row in _rows(rejects)}


def agree(one: Statement, other: Statement) -> bool:
    """Whether two statements about one position can both be true."""
    kinds = {one.kind, other.kind}
    if kinds == {"event"}:
        return _same(one, other, STORED_SCHEMA)
    if kinds <= {"event", "duplicate"}:
        return _same(one, other, _IDENTITY)
    if kinds == {"quarantined"}:
        return _same(one, other, [name for name in STORED_REJECT_SCHEMA if name not in _WORDS])
    refused = one if one.kind == "quarantined" else other
    return "duplicate" not in kinds and refused.row["reason"] == STORE_REFUSED and _same(one, other, _SENDER)


def _same(one: Statement, other: Statement, names: Sequence[str] | Mapping[str, Any]) -> bool:
    return all(one.row[name] == other.row[name] for name in names if name in one.row and name in other.row)


def _rows(frame: pl.DataFrame) -> Iterator[tuple[Place, dict[str, Any]]]:
    for row in frame.iter_rows(named=True):
        yield (row["log_topic"], row["log_partition"], row["log_offset"]), row


def _some(ranges: Sequence[PositionRange]) -> Iterator[Sequence[PositionRange]]:
    for start in range(0, len(ranges), _RANGES_AT_ONCE):
        yield ranges[start : start + _RANGES_AT_ONCE]
