"""ClickHouse's rows as frames of the contracts' shape, by log position or by identity.

Belongs here: the statements and conversions that comparisons share. Does not belong here: comparing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from contracts.envelope import POSITION_SCHEMA, STORED_SCHEMA, UTC_MS
from resources.clickhouse import Client, query_frame
from resources.raw_store.base import PositionRange

LIVE_SCHEMA = {name: dtype for name, dtype in STORED_SCHEMA.items() if name != "raw"}
"""Columns that `events` has of a stored event."""

VERDICT_SCHEMA: dict[str, pl.DataType] = {
    "verdict": pl.String(),
    "reason": pl.String(),
    "workspace": pl.String(),
    "network": pl.String(),
    "event_id": pl.String(),
    "receipt_id": pl.String(),
    "received_at": UTC_MS,
    **POSITION_SCHEMA,
}
KEY_SCHEMA: dict[str, pl.DataType] = {"workspace": pl.String(), "event_id": pl.String(), **POSITION_SCHEMA}

_SPECIAL = {
    "event_id": "toString(event_id)",
    "verdict": "toString(verdict)",
    "topics": "arrayMap(t -> toString(t), topics)",
    "event_key": "leftPad(lower(hex(event_key)), 32, '0')",
}
_IDS_AT_ONCE = 2_000
_UUID_PIECES = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
_THESE = """
(workspace, event_id) IN
    (SELECT pair.1, toUUID(pair.2) FROM
        (SELECT arrayJoin(arrayZip({owners:Array(String)}, {ids:Array(String)})) AS pair))
"""


def events_at(client: Client, ranges: Sequence[PositionRange]) -> pl.DataFrame:
    """Rows of `events` in the ranges (LIVE_SCHEMA), doubled ones as often as they are there."""
    return _read(client, "events", LIVE_SCHEMA, ranges)


def verdicts_at(client: Client, ranges: Sequence[PositionRange]) -> pl.DataFrame:
    """Duplicates and refused rows in the ranges (VERDICT_SCHEMA); repeated inserts of a position count as one."""
    return _read(client, "live_rejects FINAL", VERDICT_SCHEMA, ranges)


def keys_at(client: Client, ranges: Sequence[PositionRange]) -> pl.DataFrame:
    """Rows of the identity index in the ranges (KEY_SCHEMA)."""
    digits = {"event_key" if name == "event_id" else name: dtype for name, dtype in KEY_SCHEMA.items()}
    pieces = (pl.col("event_key").str.slice(start, length) for start, length in _UUID_PIECES)
    keys = _read(client, "event_positions", digits, ranges)
    return keys.with_columns(event_id=pl.concat_str(*pieces, separator="-")).select(list(KEY_SCHEMA))


def stored_positions(client: Client, identities: pl.DataFrame) -> pl.DataFrame:
    """Where `events` holds these identities (`workspace`, `event_id`): both and POSITION_SCHEMA."""
    schema = {"workspace": pl.String(), "event_id": pl.String(), **POSITION_SCHEMA}
    found = [pl.DataFrame(schema=schema)]
    for some in identities.unique().iter_slices(_IDS_AT_ONCE):
        sql = f"{_select('events', schema)} WHERE {_THESE}"
        given = {"owners": some["workspace"].to_list(), "ids": some["event_id"].to_list()}
        found.append(_shaped(query_frame(client, sql, given), schema))
    return pl.concat(found)


def condition(ranges: Sequence[PositionRange]) -> tuple[str, dict[str, Any]]:
    """SQL that is true inside the ranges, and its parameters."""
    terms: list[str] = []
    given: dict[str, Any] = {}
    for number, where in enumerate(ranges):
        given |= {f"{name}_{number}": value for name, value in where._asdict().items()}
        terms.append(
            f"(log_topic = {{log_topic_{number}:String}} AND log_partition = {{log_partition_{number}:Int32}} "
            f"AND log_offset >= {{start_{number}:Int64}} AND log_offset < {{end_{number}:Int64}})"
        )
    return " OR ".join(terms) or "0", given


def _read(client: Client, table: str, schema: dict[str, pl.DataType], ranges: Sequence[PositionRange]) -> pl.DataFrame:
    if not ranges:
        return pl.DataFrame(schema=schema)
    where, given = condition(ranges)
    return _shaped(query_frame(client, f"{_select(table, schema)} WHERE {where}", given), schema)


def _select(table: str, schema: dict[str, pl.DataType]) -> str:
    # Positional names: an alias that is a column's name would be taken for the column in WHERE.
    columns = ", ".join(f"{_SPECIAL.get(name, name)} AS c{number}" for number, name in enumerate(schema))
    return f"SELECT {columns} FROM {table}"  # noqa: S608 - our own names, values are parameters


def _shaped(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(f"c{n}").cast(dtype).alias(name) for n, (name, dtype) in enumerate(schema.items()))
