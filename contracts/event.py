"""The contract of one event as pydantic models, of this schema version and the one before.

Belongs here: the models, from which the JSON Schemas in `contracts/schemas/` are written, and the exact reason why one
row breaks the contract. Does not belong here: the hot path, which checks columns (`contracts.mapping`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from contracts.envelope import EARLIEST_EVENT_TIME
from contracts.event_types import EVENT_TYPES
from contracts.rejects import shorten
from contracts.times import LATEST_EVENT_TIME, MAX_CLOCK_OFFSET_MS, parse_epoch, parse_iso8601
from contracts.upgrade import READABLE_VERSIONS

MAX_TEXT_CHARS = 1024
"""Longest actor, object or campaign."""

NETWORK_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


def _known_type(value: Any) -> Any:
    if isinstance(value, str | int | float) and str(value) not in EVENT_TYPES:
        raise PydanticCustomError("unknown_type", "not in the vocabulary")
    return value


def _time(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = pl.Series([str(value)], dtype=pl.String)
        read = parse_iso8601(text)[0] or parse_epoch(text, "ms")[0]
        if read is None:
            raise PydanticCustomError("invalid_time", "expected ISO 8601 or integer milliseconds since 1970")
        moment = read
    else:
        raise PydanticCustomError("wrong_type", "expected ISO 8601 or integer milliseconds since 1970")
    if not EARLIEST_EVENT_TIME <= moment < LATEST_EVENT_TIME:
        raise PydanticCustomError(
            "time_out_of_range",
            "read as {moment}, expected {earliest} or later and before {latest}{hint}",
            {
                "moment": moment.isoformat(timespec="milliseconds"),
                "earliest": EARLIEST_EVENT_TIME.date().isoformat(),
                "latest": LATEST_EVENT_TIME.date().isoformat(),
                "hint": "; numbers are milliseconds, not seconds" if _looks_like_seconds(value) else "",
            },
        )
    return moment


def _looks_like_seconds(value: Any) -> bool:
    return isinstance(value, int) and EARLIEST_EVENT_TIME.timestamp() <= value < LATEST_EVENT_TIME.timestamp()


def _uuid(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return UUID(value)
    except ValueError as error:
        raise PydanticCustomError("invalid_id", "expected a UUID, version 7 recommended") from error


def _version(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, int) and not isinstance(number, bool) and number not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise PydanticCustomError("unsupported_schema_version", "this release reads {readable}", {"readable": readable})
    return number


Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # to pydantic, true is the number 1
        raise PydanticCustomError("invalid_value", "expected a number of milliseconds")
    return value


EventId = Annotated[UUID, BeforeValidator(_uuid)]
ClockOffset = Annotated[float, Field(ge=-MAX_CLOCK_OFFSET_MS, le=MAX_CLOCK_OFFSET_MS), BeforeValidator(_number)]
TypeName = Annotated[str, BeforeValidator(_known_type), Field(json_schema_extra={"enum": sorted(EVENT_TYPES)})]
Moment = Annotated[
    datetime,
    BeforeValidator(_time),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
            "description": "ISO 8601 (UTC where no zone is given) or milliseconds since 1970-01-01T00:00Z.",
        }
    ),
]


class _Contract(BaseModel):
    # Ids are numbers in many sources: they are taken as text. Unknown fields are kept and counted, never refused.
    model_config = ConfigDict(coerce_numbers_to_str=True, extra="allow")


class Event(_Contract):
    """An event as an SDK sends it, schema version 2."""

    schema_version: Annotated[Literal[2] | None, BeforeValidator(_version)] = 2
    workspace: str | None = Field(None, description="If given, the workspace of the write key.")
    event_id: EventId = Field(description="Made once by the sender; the event's identity. UUIDv7 recommended.")
    type: TypeName
    network: Annotated[str, Field(pattern=NETWORK_PATTERN)] | None = "app"
    actor: Annotated[Text, Field(min_length=1)] = Field(description="Who did it, in the network's own id space.")
    object: Text | None = Field("", description="What it was done to.")
    campaign: Text | None = ""
    topics: list[str | None] | None = Field(default_factory=list, description="Hashtags, with or without '#'.")
    properties: dict[str, Any] | None = Field(default_factory=dict)
    occurred_at: Moment
    clock_offset_ms: ClockOffset | None = Field(
        None, description="Server time minus device time, measured once per session by the SDK."
    )
    sdk: Text | None = Field("", description="Name and version of the sender, e.g. python/0.1.0.")


class EventV1(_Contract):
    """An event as an SDK sent it in schema version 1: `user`, `ts` and `name` for actor, occurred_at and type."""

    schema_version: Annotated[Literal[1], BeforeValidator(_version)]
    workspace: str | None = None
    event_id: EventId
    name: TypeName
    network: Annotated[str, Field(pattern=NETWORK_PATTERN)] | None = "app"
    user: Annotated[Text, Field(min_length=1)]
    object: Text | None = ""
    properties: dict[str, Any] | None = Field(default_factory=dict)
    ts: Moment
    clock_offset_ms: ClockOffset | None = None
    sdk: Text | None = ""


_REASON_OF_ERROR = {
    "missing": "missing_field",
    "none_required": "missing_field",
    "string_too_short": "missing_field",
    "string_too_long": "invalid_value",
    "string_pattern_mismatch": "invalid_value",
    "greater_than_equal": "invalid_value",
    "less_than_equal": "invalid_value",
    "finite_number": "invalid_value",
}
_OWN_REASONS = {
    "unsupported_schema_version",
    "unknown_type",
    "invalid_time",
    "time_out_of_range",
    "invalid_id",
    "invalid_value",
    "wrong_type",
}


def explain(candidate: Mapping[str, Any], model: type[Event] | type[EventV1] = Event) -> tuple[str, str, str] | None:
    """Return `(reason, detail, field)` of the first thing that breaks the contract; None for a row that keeps it.

    The detail names the field, the value (shortened) and what was expected.
    """
    try:
        model.model_validate(candidate)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        code = first["type"] if first["type"] in _OWN_REASONS else _REASON_OF_ERROR.get(first["type"], "wrong_type")
        if candidate.get(field) is None:
            return "missing_field", f"{field} is missing.", field
        if code == "missing_field":
            return code, f"{field} is empty.", field
        return code, f"{field} is {shorten(candidate[field])}: {first['msg']}.", field
    return None
