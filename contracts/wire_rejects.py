"""Messages that are no events: the verdict on what cannot be decoded, and the quarantine topic's own messages.

Belongs here: rejects as messages, and messages as rejects. Does not belong here: events (`contracts.wire`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import orjson
import polars as pl

from contracts.envelope import REJECT_SCHEMA
from contracts.event_types import EVENT_TYPES, QUARANTINE
from contracts.json_rows import BadRow, JsonRows, parse_json_rows
from contracts.rejects import MAX_REJECT_PAYLOAD_BYTES, MAX_ROW_BYTES, STORED_REJECT_SCHEMA, shorten
from contracts.upgrade import READABLE_VERSIONS, V1_COLUMNS

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""No message is longer: a row of MAX_ROW_BYTES twice (raw, properties), at worst doubled by escaping, and the rest."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_REJECT_WIRE: dict[str, pl.DataType] = {
    **{name: pl.String() for name in REJECT_SCHEMA},
    "received_at": pl.Int64(),
    "payload_base64": pl.String(),
}


def read_messages(values: Sequence[bytes | None], schema: Mapping[str, pl.DataType]) -> JsonRows:
    """Parse message values as columns; a tombstone is one of the bad rows."""
    read = parse_json_rows([value or b"" for value in values], schema, max_bytes=MAX_MESSAGE_BYTES)
    bad = [
        BadRow(entry.position, "tombstone", "The message has no value.") if values[entry.position] is None else entry
        for entry in read.bad
    ]
    return JsonRows(read.frame, read.positions, bad)


def explain_message(value: bytes, topic: str) -> tuple[str, str, str]:
    """Return `(reason, detail, field)` of a JSON message that is not an event of this topic in a readable version."""
    message = orjson.loads(value)
    if not isinstance(message, dict):
        return "foreign_message", f"The message is no object but {shorten(message)}.", ""
    version = message.get("schema_version")
    if not isinstance(version, int):
        return "foreign_message", f"schema_version is {shorten(version)}, not an integer.", "schema_version"
    if version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        detail = f"The message is of schema version {version}; this release reads {readable}."
        return "unsupported_schema_version", detail, "schema_version"
    type_field = "type" if version > 1 else next(old for old, new in V1_COLUMNS.items() if new == "type")
    name = message.get(type_field)
    if isinstance(name, str) and name not in EVENT_TYPES:
        return "unknown_type", f"{type_field} {shorten(name)} is not in the vocabulary.", type_field
    if isinstance(name, str) and EVENT_TYPES[name].topic != topic:
        return "wrong_topic", f"{name} belongs in {EVENT_TYPES[name].topic}, not in {topic}.", type_field
    return "foreign_message", f"A column of the envelope is missing or of another type: {shorten(message, 200)}.", ""


def position_frame(
    reasons: Mapping[int, tuple[str, str, str]],
    values: Sequence[bytes | None],
    *,
    topic: str,
    partition: int,
    offsets: Sequence[int],
    timestamps: Sequence[int] | None,
) -> pl.DataFrame:
    """Build STORED_REJECT_SCHEMA rows of messages that could not be decoded, in offset order.

    They carry neither workspace nor receipt, because nothing in them can be believed; the place is in the log, and the
    time of receipt is that of appending (ms since the epoch), or the epoch where none was passed.
    """
    at = sorted(reasons)
    size = len(at)
    return pl.DataFrame(
        {
            "reason": [reasons[index][0] for index in at],
            "detail": [reasons[index][1] for index in at],
            "field": [reasons[index][2] for index in at],
            "place": [f"{topic}/{partition}@{offsets[index]}" for index in at],
            "workspace": [""] * size,
            "network": [""] * size,
            "received_at": [_EPOCH + (timestamps[index] if timestamps else 0) * _MILLISECOND for index in at],
            "receipt_id": [""] * size,
            "payload": [(values[index] or b"")[:MAX_ROW_BYTES] for index in at],
            "log_topic": [topic] * size,
            "log_partition": [partition] * size,
            "log_offset": [offsets[index] for index in at],
        },
        schema=STORED_REJECT_SCHEMA,
    )


def encode_rejects(rejects: pl.DataFrame) -> tuple[list[bytes], list[bytes]]:
    """Encode REJECT_SCHEMA rows as `(keys, values)` of the quarantine topic.

    A payload travels as text, or as base64 where it is no UTF-8 or where escaping would make it longer than that: a
    message is never more than a third longer than its payload, and about 1 KiB for the rest.
    """
    keys: list[bytes] = []
    values: list[bytes] = []
    for row in rejects.select(list(REJECT_SCHEMA)).iter_rows(named=True):
        payload: bytes = row.pop("payload") or b""
        if len(payload) > MAX_ROW_BYTES:
            payload = payload[:MAX_REJECT_PAYLOAD_BYTES]
        row["received_at"] = (row["received_at"] - _EPOCH) // _MILLISECOND
        text = _text_of(payload)
        if text is None:
            row["payload_base64"] = b64encode(payload).decode("ascii")
        else:
            row["payload"] = text
        keys.append(f"{row['workspace']}/{row['receipt_id']}".encode())
        values.append(orjson.dumps(row))
    return keys, values


def _text_of(payload: bytes) -> str | None:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if len(orjson.dumps(text)) <= len(payload) * 4 // 3 + 2 else None


def decode_rejects(
    values: Sequence[bytes | None],
    partition: int,
    offsets: Sequence[int],
    *,
    topic: str = QUARANTINE,
    timestamps: Sequence[int] | None = None,
) -> pl.DataFrame:
    """Decode messages of the quarantine topic as STORED_REJECT_SCHEMA rows in offset order, one row per message.

    A message that is no reject of ours becomes a reject itself, with the place `topic/partition@offset`.
    """
    read = read_messages(values, _REJECT_WIRE)
    frame = read.frame
    payload = [_payload(text, encoded) for text, encoded in frame.select("payload", "payload_base64").iter_rows()]
    frame = frame.drop("payload", "payload_base64").with_columns(pl.Series("payload", payload, dtype=pl.Binary))
    good = frame.select(pl.all_horizontal(pl.col(name).is_not_null() for name in REJECT_SCHEMA)).to_series()
    positions = pl.Series(read.positions, dtype=pl.Int64)
    reasons = {bad.position: (bad.reason, bad.detail, "") for bad in read.bad}
    for position in positions.filter(~good):
        reasons[position] = ("foreign_message", "The message is not a reject of this platform.", "")
    decoded = frame.filter(good).select(
        *(
            pl.col(name).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC") if name == "received_at" else pl.col(name)
            for name in REJECT_SCHEMA
        ),
        log_topic=pl.lit(topic),
        log_partition=pl.lit(partition, dtype=pl.Int32),
        log_offset=pl.Series(offsets, dtype=pl.Int64).gather(positions.filter(good)),
    )
    foreign = position_frame(reasons, values, topic=topic, partition=partition, offsets=offsets, timestamps=timestamps)
    return pl.concat([decoded.select(list(STORED_REJECT_SCHEMA)), foreign]).sort("log_offset")


def _payload(text: str | None, encoded: str | None) -> bytes | None:
    if encoded is None:
        return None if text is None else text.encode("utf-8")
    try:
        return b64decode(encoded, validate=True)
    except Base64Error:
        return None
