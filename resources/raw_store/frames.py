"""Frames to plain rows and back, as both raw stores need them.

Belongs here: checks and conversions between polars frames and values a store can keep (times as ms since the epoch,
topics as JSON text). Does not belong here: anything that talks to a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import polars as pl

from contracts.envelope import POSITION_SCHEMA, REJECT_SCHEMA, STORED_SCHEMA, UTC_MS
from resources.raw_store.base import (
    RawStoreConflictError,
    RawStoreError,
    RowsRefusedError,
    VerdictCounts,
    position_id,
)

POSITION = tuple(POSITION_SCHEMA)
REFUSED_SCHEMA: dict[str, pl.DataType] = {**REJECT_SCHEMA, **POSITION_SCHEMA}
QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    **REFUSED_SCHEMA,
    "id": pl.String(),
    "status": pl.String(),
    "attempts": pl.Int32(),
    "first_seen": UTC_MS,
    "last_seen": UTC_MS,
    "note": pl.String(),
}
COUNTS_SCHEMA: dict[str, pl.DataType] = {
    "status": pl.String(),
    "reason": pl.String(),
    "network": pl.String(),
    "rows": pl.Int64(),
    "first_seen": UTC_MS,
    "last_seen": UTC_MS,
}
DUPLICATE_SCHEMA: dict[str, pl.DataType] = {
    **POSITION_SCHEMA,
    "workspace": pl.String(),
    "event_id": pl.String(),
    "receipt_id": pl.String(),
}
PLACED_SCHEMA: dict[str, pl.DataType] = {"workspace": pl.String(), "event_id": pl.String(), **POSITION_SCHEMA}
_TIMES = pl.selectors.by_dtype(UTC_MS)


def conform(frame: pl.DataFrame, schema: dict[str, pl.DataType], what: str) -> pl.DataFrame:
    """Return the frame's columns in the schema's order, sorted by position. Raises RawStoreError when they differ."""
    wrong = [
        f"{name} is {frame.schema.get(name, 'missing')}, not {dtype}"
        for name, dtype in schema.items()
        if frame.schema.get(name) != dtype
    ]
    if wrong:
        raise RawStoreError(f"{what}: {'; '.join(wrong)}")
    frame = frame.select(*schema)
    if frame.is_empty():
        return frame
    nulls = [name for name, count in frame.null_count().row(0, named=True).items() if count]
    if nulls:
        raise RowsRefusedError(f"{what}: null in {', '.join(nulls)}; an absent text is ''")
    return frame.sort(POSITION, maintain_order=True)


def refuse_two_at_one_position(events: pl.DataFrame, store: str) -> None:
    """Raise RawStoreConflictError when one position of a sorted frame comes with two different events."""
    same_place = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in POSITION)
    other_event = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("workspace", "event_id"))
    clash = (
        events.select(*POSITION, "workspace", "event_id")
        .with_columns(pl.col("workspace", "event_id").shift().name.prefix("held_"))
        .filter(same_place & other_event)
    )
    for row in clash.select(*POSITION, "held_workspace", "held_event_id", "workspace", "event_id").iter_rows():
        raise position_taken(store, row[:3], row[3:5], row[5:])


def plain_rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows of text, bytes and integers: times in ms since the epoch, lists as JSON text."""
    columns = [_plain(series) for series in frame.with_columns(_TIMES.to_physical())]
    return list(zip(*columns, strict=True))


def _plain(series: pl.Series) -> list[Any]:
    if isinstance(series.dtype, pl.List):
        return [orjson.dumps(item).decode() if item else "[]" for item in series.to_list()]
    return series.to_list()


def frame_of(rows: Sequence[Sequence[Any]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """The inverse of `plain_rows`. A value that cannot be one of its column, put there by hand, becomes null."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pl.DataFrame(
        [_series(name, column, dtype) for (name, dtype), column in zip(schema.items(), columns, strict=True)]
    )


def _series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    plain = _plain_dtype(dtype)
    try:
        series = pl.Series(name, values, dtype=plain)
    except TypeError:
        series = pl.Series(name, values, dtype=plain, strict=False)
    if isinstance(dtype, pl.List):
        try:
            return series.str.json_decode(dtype)
        except pl.exceptions.ComputeError:
            return pl.Series(name, [_texts(value) for value in series], dtype=dtype)
    return series.cast(dtype) if dtype == UTC_MS else series


def _texts(value: str | None) -> list[str] | None:
    try:
        found = orjson.loads(value or "")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _plain_dtype(dtype: pl.DataType) -> pl.DataType:
    if dtype == UTC_MS:
        return pl.Int64()
    return pl.String() if isinstance(dtype, pl.List) else dtype


def spans(frame: pl.DataFrame) -> Iterator[tuple[str, int, int, int]]:
    """Per partition of the frame `(topic, partition, least offset, greatest offset)`."""
    yield from (
        frame.group_by("log_topic", "log_partition", maintain_order=True)
        .agg(pl.col("log_offset").min().alias("low"), pl.col("log_offset").max().alias("high"))
        .iter_rows()
    )


def offered_before(
    events: pl.DataFrame,
    quarantined: Sequence[tuple[Any, ...]],
    duplicates: Sequence[tuple[Any, ...]],
    store: str,
) -> tuple[pl.DataFrame, VerdictCounts]:
    """Split off the events whose position was quarantined or found duplicate before: the first verdict stands.

    `quarantined` are positions, `duplicates` positions with workspace and event id. Returns the other events and the
    counts of those left out. Raises RawStoreConflictError when a duplicate's position now comes with another identity.
    """
    kept = events
    if quarantined:
        kept = kept.join(frame_of(quarantined, POSITION_SCHEMA), on=POSITION, how="anti")
    in_quarantine = events.height - kept.height
    if not duplicates:
        return kept, VerdictCounts(0, 0, in_quarantine)
    schema = {**POSITION_SCHEMA, "held_workspace": pl.String(), "held_event_id": pl.String()}
    again = kept.join(frame_of(duplicates, schema), on=POSITION, how="inner")
    other = again.filter(
        (pl.col("workspace") != pl.col("held_workspace")) | (pl.col("event_id") != pl.col("held_event_id"))
    )
    for row in other.select(*POSITION, "held_workspace", "held_event_id", "workspace", "event_id").iter_rows():
        raise position_taken(store, row[:3], row[3:5], row[5:])
    kept = kept.join(again, on=POSITION, how="anti")
    return kept, VerdictCounts(0, events.height - in_quarantine - kept.height, in_quarantine)


def position_taken(
    store: str, position: tuple[str, int, int], held: tuple[str, str], offered: tuple[str, str]
) -> RawStoreConflictError:
    """The error that names the position, the event it holds and the event that was offered (workspace, event id)."""
    return RawStoreConflictError(
        f"raw store {store}: {position_id(*position)} holds event {held[0]}/{held[1]} and cannot also be"
        f" {offered[0]}/{offered[1]}; was the event log recreated under this store?"
    )


def event_of(row: Sequence[Any]) -> dict[str, object]:
    """One plain row as the dictionary `get_event` returns."""
    return frame_of([row], STORED_SCHEMA).row(0, named=True)
