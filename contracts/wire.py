"""The event log's messages: envelope columns → keys and values, and back.

Belongs here: encoding, decoding and the verdict on a message that cannot be decoded. Does not belong here: the log
itself (`resources.event_log`), or what a source's row looks like (`contracts.mapping`).

A value is one JSON object of the envelope's columns with times as integer ms since the epoch; `properties` and `raw`
are JSON text within it. A key is `workspace/value` in UTF-8. Values of schema version N and N-1 can be decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from contracts.envelope import EVENT_SCHEMA, STORED_SCHEMA
from contracts.event_types import EVENT_TYPES, TOPIC_OF_TYPE
from contracts.times import LATEST_EVENT_TIME
from contracts.upgrade import READABLE_VERSIONS, V1_COLUMNS, upgrade_columns
from contracts.wire_rejects import (
    MAX_MESSAGE_BYTES,
    decode_rejects,
    encode_rejects,
    explain_message,
    position_frame,
    read_messages,
)

__all__ = ["MAX_MESSAGE_BYTES", "DecodedBatch", "decode", "decode_rejects", "encode", "encode_rejects"]

_TIMES = ("occurred_at", "received_at", "event_time")
_WIRE_SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.Int64() if name in _TIMES else dtype for name, dtype in EVENT_SCHEMA.items()},
    **{old: pl.Int64() if new in _TIMES else pl.String() for old, new in V1_COLUMNS.items()},
    "schema_version": pl.Int64(),
}
_LATEST_MS = int(LATEST_EVENT_TIME.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """Messages of one partition: each is in `events` (STORED_SCHEMA) or in `rejects` (STORED_REJECT_SCHEMA)."""

    events: pl.DataFrame
    rejects: pl.DataFrame


def encode(events: pl.DataFrame) -> dict[str, tuple[list[bytes], list[bytes]]]:
    """Encode EVENT_SCHEMA rows as `{topic: (keys, values)}`, in row order within a topic; extra columns are left out.

    Raises ValueError for a type that is not in the vocabulary (mappings refuse such rows before).
    """
    if events.is_empty():
        return {}
    millis = [pl.col(name).dt.timestamp("ms").alias(name) for name in _TIMES]
    wire = events.select(list(EVENT_SCHEMA)).with_columns(millis)
    table = wire.select(
        topic=pl.col("type").replace_strict(TOPIC_OF_TYPE, default=None, return_dtype=pl.String),
        key=(pl.col("workspace") + "/" + _key_value()).cast(pl.Binary),
        value=pl.struct(list(EVENT_SCHEMA)).struct.json_encode().cast(pl.Binary),
    )
    if table["topic"].null_count():
        unknown = events.filter(table["topic"].is_null())["type"][0]
        raise ValueError(f"event type {unknown!r} has no topic; known types are in contracts.event_types")
    parts = table.partition_by("topic", as_dict=True, include_key=False, maintain_order=True)
    return {str(topic): (part["key"].to_list(), part["value"].to_list()) for (topic,), part in parts.items()}


def _key_value() -> pl.Expr:
    """Return the text that keys a row: the first of its type's key columns that is not empty, at last the event id."""
    value = pl.col("event_id")
    for columns in {entry.key_columns for entry in EVENT_TYPES.values()}:
        names = [name for name, entry in EVENT_TYPES.items() if entry.key_columns == columns]
        first = pl.coalesce([*(pl.when(pl.col(column) != "").then(pl.col(column)) for column in columns), "event_id"])
        value = pl.when(pl.col("type").is_in(names)).then(first).otherwise(value)
    return value


def decode(
    values: Sequence[bytes | None],
    topic: str,
    partition: int,
    offsets: Sequence[int],
    *,
    timestamps: Sequence[int] | None = None,
) -> DecodedBatch:
    """Decode messages of one of the three event topics; `offsets[i]` is the place of `values[i]`.

    A message that is none of ours (tombstone, not JSON, other fields, a schema version after this release's, a type of
    another topic) becomes a reject whose place is `topic/partition@offset`; `timestamps` (append times, ms since the
    epoch) give its time of receipt. Raises ValueError on unequal lengths.
    """
    if len(values) != len(offsets):
        raise ValueError(f"{len(values)} values but {len(offsets)} offsets of {topic}/{partition}")
    read = read_messages(values, _WIRE_SCHEMA)
    frame = upgrade_columns(read.frame)
    good = frame.select(_acceptable(topic)).to_series()
    positions = pl.Series(read.positions, dtype=pl.Int64)
    reasons = {bad.position: (bad.reason, bad.detail, "") for bad in read.bad}
    if not good.all():
        for position in positions.filter(~good):
            reasons[position] = explain_message(values[position] or b"", topic)
        frame, positions = frame.filter(good), positions.filter(good)
    events = frame.select(
        *(_as_envelope(name, dtype) for name, dtype in EVENT_SCHEMA.items()),
        log_topic=pl.lit(topic),
        log_partition=pl.lit(partition, dtype=pl.Int32),
        log_offset=pl.Series(offsets, dtype=pl.Int64).gather(positions),
    )
    rejects = position_frame(reasons, values, topic=topic, partition=partition, offsets=offsets, timestamps=timestamps)
    return DecodedBatch(events.select(list(STORED_SCHEMA)), rejects)


def _acceptable(topic: str) -> pl.Expr:
    """Return whether a row has every column, a readable version, plausible times and a type of this topic."""
    types = [name for name, of_topic in TOPIC_OF_TYPE.items() if of_topic == topic]
    complete = pl.all_horizontal(pl.col(name).is_not_null() for name in EVENT_SCHEMA)
    times = pl.all_horizontal(pl.col(name).is_between(0, _LATEST_MS) for name in _TIMES)
    readable = pl.col("schema_version").is_in(READABLE_VERSIONS)
    return (complete & times & readable & pl.col("type").is_in(types)).fill_null(False)


def _as_envelope(name: str, dtype: pl.DataType) -> pl.Expr:
    if name in _TIMES:
        return pl.col(name).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    return pl.col(name).cast(dtype)
