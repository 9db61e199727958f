"""What a network's YAML file may say: the declarative mapping, checked when it is loaded.

Belongs here: the file's shape and errors that name file and key. Does not belong here: applying it to rows
(`contracts.mapping`).
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from contracts.event_types import EVENT_TYPES

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NETWORKS_DIR = Path(__file__).parent / "networks"
FILE_PART, ROW_PART = "$file", "$row"

PropertyType = Literal["text", "int", "float", "bool"]


class MappingError(ValueError):
    """A mapping file cannot be used, or does not fit the data; the message names the file and the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Where a text comes from: one column (JSON path with dots), several joined, or the same text for every row."""

    column: str | None = None
    join: tuple[str, ...] = ()
    separator: str = "/"
    constant: str | None = None
    default: str | None = None
    values: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Source:
        given = [self.column is not None, bool(self.join), self.constant is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of column, join, constant")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column is not None else self.join


def _source(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _constant(value: Any) -> Any:
    return {"constant": value} if isinstance(value, str) else value


TextSource = Annotated[Source, BeforeValidator(_source)]
ConstantSource = Annotated[Source, BeforeValidator(_constant)]


class Identity(_Strict):
    """`uuid`: the column that holds a UUID; or `columns`: what identifies a row, from which a UUIDv5 is derived.

    Among the columns `$file` is the base name of the file and `$row` the row's number in it, from 1.
    """

    uuid: str | None = None
    columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of(self) -> Identity:
        if (self.uuid is None) == (not self.columns):
            raise ValueError("give exactly one of uuid, columns")
        return self


class Time(_Strict):
    """`format`: iso8601, epoch_s, epoch_ms, epoch_us, iso8601_or_epoch_ms, or strptime formats.

    `zone`: the IANA time zone of texts without an offset.
    """

    column: str
    format: Literal["iso8601", "epoch_s", "epoch_ms", "epoch_us", "iso8601_or_epoch_ms"] | tuple[str, ...]
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        known = available_timezones() - {
            "Factory",
            "localtime",
        }  # names that tell no zone, and that polars does not know
        if value in known:
            return value
        near = get_close_matches(value, known, n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{value!r} is no IANA time zone such as Asia/Kolkata{meant}")

    @model_validator(mode="after")
    def _zone_of_texts(self) -> Time:
        if isinstance(self.format, str) and self.format.startswith("epoch_") and "zone" in self.model_fields_set:
            raise ValueError(f"zone: format {self.format} counts from 1970 in UTC, so that a zone would mean nothing")
        return self

    @property
    def expectation(self) -> str:
        """What a value must look like, for error messages."""
        text = self.format if isinstance(self.format, str) else " or ".join(self.format)
        return text if self.zone == "UTC" else f"{text}, and a time that the clocks of {self.zone} did not skip"


class Topics(_Strict):
    """`hashtags_in`: a text column; or `list`: a column that holds a JSON array of topics."""

    hashtags_in: str | None = None
    list: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Topics:
        if (self.hashtags_in is None) == (self.list is None):
            raise ValueError("give exactly one of hashtags_in, list")
        return self


class Condition(_Strict):
    """When an event applies: a column `equals` a text, is one of `any_of`, or is (not) `empty`. All given must hold."""

    column: str
    equals: str | None = None
    any_of: tuple[str, ...] | None = None
    empty: bool | None = None


class EventSpec(_Strict):
    """One event that a row can give. `name` tells events of one row apart in derived ids."""

    name: str = "event"
    type: ConstantSource
    when: Condition | None = None
    time: Time | None = None
    actor: TextSource | None = None
    object: TextSource | None = None
    campaign: TextSource | None = None

    @model_validator(mode="after")
    def _known_types(self) -> EventSpec:
        named = [self.type.constant, self.type.default, *(self.type.values or {}).values()]
        for name in named:
            if name is not None and name not in EVENT_TYPES:
                raise ValueError(f"type {name!r} is not in the vocabulary (contracts/event_types.py)")
        return self


class Properties(_Strict):
    """`columns`: column → type; `object`: a column that holds a JSON object; `rest`: every column not used elsewhere.

    With `object`, fields that the mapping does not know are added to it.
    """

    columns: dict[str, PropertyType] = Field(default_factory=dict)
    object: str | None = None
    rest: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> Properties:
        if sum([bool(self.columns), self.object is not None, self.rest]) > 1:
            raise ValueError("give at most one of columns, object, rest")
        return self


class MappingSpec(_Strict):
    """A network's mapping file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: int = 1
    description: str = ""
    network: ConstantSource
    format: Literal["ndjson", "csv", "text"]
    columns: tuple[str, ...] = ()
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    identity: Identity
    time: Time
    actor: TextSource
    object: TextSource | None = None
    campaign: TextSource | None = None
    topics: Topics | None = None
    sdk: TextSource | None = None
    schema_version: str | None = None
    clock_offset_ms: str | None = None
    workspace: str | None = None
    properties: Properties = Properties()
    required: tuple[Literal["object", "campaign"], ...] = ()
    ignored: tuple[str, ...] = ()
    events: Annotated[tuple[EventSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> MappingSpec:
        first: dict[str, int] = {}
        for number, event in enumerate(self.events):
            if (same := first.setdefault(event.name, number)) != number:
                raise ValueError(
                    f"events.{number}.name: {event.name!r} is the name of events.{same} too"
                    + ("" if {"name"} & event.model_fields_set else " (the one of an event without `name`)")
                    + "; where a row can give several events, each needs a name of its own"
                )
        if (self.format == "text") != bool(self.columns):
            raise ValueError("columns: names those of format text, which has no header, and of no other")
        if self.format != "ndjson":
            if self.properties.object:
                raise ValueError(f"properties.object: needs format ndjson, not {self.format}")
            if self.topics and self.topics.list:
                raise ValueError(f"topics.list: needs format ndjson, not {self.format}; hashtags_in reads text")
        return self

    def times(self) -> tuple[Time, ...]:
        return (self.time, *(event.time for event in self.events if event.time is not None))

    def role_columns(self) -> list[str]:
        """Return every column that the mapping reads for the envelope, each once."""
        sources = [self.network, self.actor, self.object, self.campaign, self.sdk]
        names: list[str | None] = [self.workspace, self.identity.uuid, *self.identity.columns]
        for event in self.events:
            sources += [event.type, event.actor, event.object, event.campaign]
            names.append(event.when.column if event.when else None)
        names += [column for source in sources if source for column in source.columns]
        names += [time.column for time in self.times()]
        if self.topics:
            names.append(self.topics.hashtags_in or self.topics.list)
        return [name for name in dict.fromkeys(names) if name is not None and name not in {FILE_PART, ROW_PART}]


def read_spec(path: Path) -> MappingSpec:
    """Read and check a mapping file. Raises MappingError naming the file and each wrong key."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise MappingError(f"{path}: is not a YAML mapping")
    content.setdefault("name", path.stem)
    content.setdefault("network", content["name"])
    try:
        return MappingSpec.model_validate(content)
    except ValidationError as error:
        problems = [": ".join(filter(None, (_key(entry["loc"]), _message(entry)))) for entry in error.errors()]
        raise MappingError(f"{path}: " + "; ".join(problems)) from error


def _key(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc))


def _message(entry: ErrorDetails) -> str:
    """Pydantic's sentence, without what it puts before one of ours, which names its key itself where it has to."""
    if entry["type"] != "extra_forbidden":
        return entry["msg"].removeprefix("Value error, ")
    *place, key = entry["loc"]
    known = list(_model_at(place).model_fields)
    near = get_close_matches(str(key), known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"no such key; {meant}The keys here are {', '.join(known)}"


def _model_at(place: list[int | str]) -> type[BaseModel]:
    """Return the model that describes this place of a mapping file."""
    model: type[BaseModel] = MappingSpec
    for part in place:
        if isinstance(part, str):  # a number is a place in a list, whose members are of one model
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
