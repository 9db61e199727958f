"""Findings: what is wrong, in which store, at which place, in which column, with both values.

Belongs here: the frame of findings and its wording. Does not belong here: finding anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from contracts.envelope import UTC_MS

Store = Literal["event log", "raw store", "ClickHouse", "archive", "slices", "live rollups", "sealed rollups", "seals"]
STORES: tuple[Store, ...] = (
    "event log", "raw store", "ClickHouse", "archive", "slices", "live rollups", "sealed rollups", "seals",
)  # fmt: skip

Kind = Literal["missing", "doubled", "changed", "damaged", "unexpected", "disputed", "refused"]
"""`disputed`: log and stores disagree, and nothing decides; `refused`: a store says it would not take a row that
another one holds."""

FINDING_SCHEMA: dict[str, pl.DataType] = {
    "store": pl.String(),
    "kind": pl.String(),  # a Kind
    "place": pl.String(),  # table, collection or dataset; path of an archive part
    "log_topic": pl.String(),  # '' where the finding is about no log position
    "log_partition": pl.Int32(),
    "log_offset": pl.Int64(),
    "workspace": pl.String(),
    "event_id": pl.String(),
    "bucket": UTC_MS,  # of slices and rollups, and the ingest hour of an archive part; else null
    "network": pl.String(),
    "columns": pl.String(),  # columns that differ, separated by commas
    "expected": pl.String(),  # their values as they should be, shortened
    "found": pl.String(),  # and as they are
}
"""One row per finding; several rows of one log position are several things wrong with it."""

IDENTITY = [name for name in FINDING_SCHEMA if name not in {"expected", "found"}]
"""What makes two findings of two looks the same finding."""

VALUE_LENGTH = 80
POSITION = ("log_topic", "log_partition", "log_offset")


def none() -> pl.DataFrame:
    return pl.DataFrame(schema=FINDING_SCHEMA)


def finding(store: Store, kind: Kind, place: str, **fields: Any) -> pl.DataFrame:
    """One finding; columns not given are empty."""
    return build(store, kind, place, pl.DataFrame({name: [value] for name, value in fields.items()}), rows=1)


def build(store: Store, kind: Kind, place: str, rows_of: pl.DataFrame, *, rows: int | None = None) -> pl.DataFrame:
    """A finding per row of the frame, from those of its columns that findings have."""
    height = rows_of.height if rows is None else rows
    if not height:
        return none()
    given = {"store": store, "kind": kind, "place": place}
    columns = []
    for name, dtype in FINDING_SCHEMA.items():
        if name in given:
            columns.append(pl.Series(name, [given[name]] * height, dtype))
        elif name in rows_of.columns:
            columns.append(rows_of[name].cast(dtype, strict=False))
        else:
            filler = "" if dtype == pl.String() else None
            columns.append(pl.Series(name, [filler] * height, dtype))
    return pl.DataFrame(columns).with_columns(pl.col(pl.String).fill_null(""))


def join_all(found: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All findings, by store and place, each once."""
    frame = pl.concat([none(), *found])
    return frame.unique(maintain_order=True).sort("store", *POSITION, "bucket", "place", "kind", nulls_last=True)


def shortened(value: object) -> str:
    """A value for a person, of bounded length."""
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def describe(row: Mapping[str, Any]) -> str:
    """A finding as one line: `raw store: content-events/2@1841 in events changed (workspace …): actor is 'x', …`."""
    where = row["place"]
    if row["log_topic"]:
        where = f"{row['log_topic']}/{row['log_partition']}@{row['log_offset']} in {row['place']}"
    elif row["bucket"] is not None:
        where = f"{row['place']} {row['network']} {row['bucket']:%Y-%m-%d %H:%M}".replace("  ", " ")
    identity = f" (workspace {row['workspace']}, event {row['event_id']})" if row["event_id"] else ""
    lacks = row["kind"] == "missing"
    line = f"{row['store']} lacks {where}{identity}" if lacks else f"{row['store']}: {where} {row['kind']}{identity}"
    if row["columns"]:
        line += f": {row['columns']} is {row['found']}, should be {row['expected']}"
    elif row["found"]:
        line += f": {row['found']}"
    return line


def values_text(values: Sequence[object]) -> str:
    return ", ".join(repr(shortened(value)) for value in values)
