"""Why a row was refused: stable reason codes, and the frames that carry refused rows to quarantine.

Belongs here: the codes, their class and sentence, and building REJECT_SCHEMA frames. Does not belong here: deciding
that a row is refused (`contracts.mapping`, `contracts.wire`) or what is done with it later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple

import polars as pl

from contracts.envelope import POSITION_SCHEMA, REJECT_SCHEMA

ReasonClass = Literal["permanent", "transient"]

MAX_ROW_BYTES = 1024 * 1024
"""A row longer than this is refused with `row_too_large`."""

MAX_REJECT_PAYLOAD_BYTES = 64 * 1024
"""Of a row that is too large this many bytes are kept, and the detail says so."""

STORED_REJECT_SCHEMA: dict[str, pl.DataType] = {**REJECT_SCHEMA, **POSITION_SCHEMA}
"""A refused row with the place in the event log that it was read from."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code. `permanent`: the row must change; `transient`: the same row can pass later (an upgrade)."""

    code: str
    reason_class: ReasonClass
    sentence: str


_TABLE = (
    Reason("empty_row", "permanent", "The row has no content."),
    Reason("row_too_large", "permanent", f"The row is longer than {MAX_ROW_BYTES:,} bytes."),
    Reason("not_json", "permanent", "The row is not one JSON value."),
    Reason("not_an_object", "permanent", "The row is JSON, but not an object."),
    Reason("too_deep", "permanent", "The row nests objects or arrays too deeply to be read."),
    Reason("invalid_utf8", "permanent", "The row is not UTF-8 text."),
    Reason("invalid_unicode", "permanent", "The row escapes half of a surrogate pair, which no text can hold."),
    Reason("missing_field", "permanent", "A required field is absent, null or empty."),
    Reason("wrong_type", "permanent", "A field holds a value of another type than the contract's."),
    Reason("invalid_value", "permanent", "A field holds a value the contract does not allow."),
    Reason("invalid_id", "permanent", "The event id is not a UUID."),
    Reason("invalid_time", "permanent", "A time cannot be read in the format the mapping names."),
    Reason("time_out_of_range", "permanent", "A time lies outside the range any real event can have."),
    Reason("unknown_type", "permanent", "The event type is not in the vocabulary."),
    Reason("no_event", "permanent", "No event of the mapping applies to the row."),
    Reason("wrong_workspace", "permanent", "The row names another workspace than its write key's."),
    Reason("wrong_topic", "permanent", "The message lies in another topic than its type's."),
    Reason("foreign_message", "permanent", "The message in the log was not written by this platform."),
    Reason("tombstone", "permanent", "The message in the log has no value."),
    Reason("unsupported_schema_version", "transient", "The row is of a schema version this release cannot read."),
    Reason("store_refused", "transient", "A store refused the row."),
)

REASONS: Mapping[str, Reason] = MappingProxyType({entry.code: entry for entry in _TABLE})


class Reject(NamedTuple):
    """One refused row before it becomes a line of a frame. `row` is its number at its source, counted from 1."""

    row: int
    reason: str
    detail: str
    field: str
    payload: bytes


def shorten(value: object, limit: int = 80) -> str:
    """Return the value's text for an error message, at most `limit` characters, surrogates made visible.

    Without quotes, unless it is empty or blank.
    """
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: limit + 1])
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text if text.strip() else f"'{text}'"


def trimmed_payload(payload: bytes, detail: str) -> tuple[bytes, str]:
    """Cut a payload that is too large to be kept whole, and say so in the detail."""
    if len(payload) <= MAX_ROW_BYTES:
        return payload, detail
    note = f"{detail} The first {MAX_REJECT_PAYLOAD_BYTES:,} of {len(payload):,} bytes are kept."
    return payload[:MAX_REJECT_PAYLOAD_BYTES], note


def place_of(source: str, row: int) -> str:
    """Return where a row is: `item 3 of the request` or `row 17 of edits.json` (both counted from 1)."""
    return f"item {row} of the request" if source == "request" else f"row {row} of {source}"


def parse_place(place: str) -> tuple[str, int] | None:
    """Return `(source, row)` of a place made by `place_of`; None for any other place."""
    if match := re.fullmatch(r"item (\d+) of the request", place):
        return "request", int(match[1])
    if match := re.fullmatch(r"row (\d+) of (.+)", place, re.DOTALL):
        return match[2], int(match[1])
    return None


def reject_frame(
    rejects: Sequence[Reject], *, source: str, workspace: str, network: str, received_at: datetime, receipt_id: str
) -> pl.DataFrame:
    """Build a REJECT_SCHEMA frame of rows refused at one source, in the order given."""
    if not rejects:
        return pl.DataFrame(schema=REJECT_SCHEMA)
    kept = [trimmed_payload(reject.payload, reject.detail) for reject in rejects]
    size = len(rejects)
    return pl.DataFrame(
        {
            "reason": [reject.reason for reject in rejects],
            "detail": [detail for _, detail in kept],
            "field": [reject.field for reject in rejects],
            "place": [place_of(source, reject.row) for reject in rejects],
            "workspace": [workspace] * size,
            "network": [network] * size,
            "received_at": [received_at] * size,
            "receipt_id": [receipt_id] * size,
            "payload": [payload for payload, _ in kept],
        },
        schema=REJECT_SCHEMA,
    )
