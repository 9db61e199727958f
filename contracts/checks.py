"""The verdict on an event: cheap checks in columns, and for the few that fail the exact reason.

Belongs here: what makes an event valid. Does not belong here: rows that are no JSON (`contracts.json_rows`).
Columns and models must agree on every row; `tests/contracts/test_checks_agree.py` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
import polars as pl

from contracts.event import MAX_TEXT_CHARS, NETWORK_PATTERN, Event, EventV1, explain
from contracts.event_types import EVENT_TYPES
from contracts.mapping_model import EventSpec, MappingSpec
from contracts.mapping_model import Source as TextSource
from contracts.rejects import REASONS, shorten
from contracts.source_rows import SourceRows
from contracts.times import MAX_CLOCK_OFFSET_MS, in_range
from contracts.upgrade import READABLE_VERSIONS, V1_COLUMNS

Misfits = Mapping[int, tuple[str, Any]]


def find_misfits(spec: MappingSpec, source: SourceRows) -> Misfits:
    """Return, per row, the first field of the envelope that holds what no text can be read from, and its value.

    Numbers are taken as text; objects, arrays and booleans are not. A declared property may hold anything.
    """
    found: dict[int, tuple[str, Any]] = {}
    typed = {name for name, kind in spec.properties.columns.items() if kind != "text"}
    roles = [name for name in spec.role_columns() if name not in typed]
    lists = spec.topics.list if spec.topics else None
    versions = source.text[spec.schema_version] if spec.schema_version else None
    for row, surprises in source.surprises.items():
        is_old = versions is not None and versions[row] == str(READABLE_VERSIONS[0])
        for name in [*roles, *V1_COLUMNS] if is_old else roles:
            value = surprises.get(name)
            if value is not None and (name == lists or isinstance(value, bool | dict | list)):
                found.setdefault(row, (name, value))
    if spec.properties.object is not None and source.objects is not None:
        for row in (source.objects.is_not_null() & ~source.objects.str.starts_with("{")).arg_true():
            found.setdefault(row, (spec.properties.object, orjson.loads(str(source.objects[row]))))
    return found


def problem_column(spec: MappingSpec, misfits: Misfits) -> pl.Expr:
    """Return an expression: the code of an event's first problem, '' where there is none."""
    problem = _problem(spec.required)
    if not misfits:
        return problem
    misfit = pl.col("row").is_in(list(misfits)) & ~problem.is_in(["unsupported_schema_version", "wrong_workspace"])
    return pl.when(misfit).then(pl.lit("wrong_type")).otherwise(problem)


@cache
def _problem(required: tuple[str, ...]) -> pl.Expr:
    too_long = [pl.col(name).str.len_chars() > MAX_TEXT_CHARS for name in ("actor", "object", "campaign", "sdk")]
    missing = [pl.col(name) == "" for name in ("actor", *required)]
    tests: list[tuple[pl.Expr, str]] = [
        (~pl.col("given_version").is_in(READABLE_VERSIONS), "unsupported_schema_version"),
        (pl.col("given_workspace") != pl.col("workspace"), "wrong_workspace"),
        (pl.col("event_id").is_null(), "invalid_id"),
        (pl.col("type").is_null() | ~pl.col("type").is_in(list(EVENT_TYPES)), "unknown_type"),
        (~pl.col("network").str.contains(NETWORK_PATTERN), "invalid_value"),
        (pl.any_horizontal(missing), "missing_field"),
        (pl.any_horizontal(too_long), "invalid_value"),
        (pl.col("occurred_at").is_null(), "invalid_time"),
        (~in_range(pl.col("occurred_at")), "time_out_of_range"),
        (~pl.col("offset_ms").is_between(-MAX_CLOCK_OFFSET_MS, MAX_CLOCK_OFFSET_MS).fill_null(False), "invalid_value"),
        (~in_range(pl.col("event_time")), "time_out_of_range"),
    ]
    return pl.coalesce([*(pl.when(test).then(pl.lit(code)) for test, code in tests), pl.lit("")])


def explain_row(
    spec: MappingSpec, source: SourceRows, event: Mapping[str, Any], misfits: Misfits
) -> tuple[str, str, str]:
    """Return `(reason, detail, field)` of a failed line of `build_events`; the field is named as the source does."""
    row, problem = event["row"], event["problem"]
    if problem == "no_event":
        return problem, REASONS[problem].sentence, ""
    if problem == "wrong_workspace":
        given, own = shorten(event["given_workspace"]), event["workspace"]
        return problem, f"workspace is {given}, but the write key is of {own}.", spec.workspace or ""
    document = orjson.loads(source.payload(row)) if source.lines is not None else None
    if document is not None and not isinstance(document, dict):
        return "not_an_object", f"The row is no object but {shorten(document)}.", ""
    if problem == "wrong_type":
        name, value = misfits[row]
        return problem, f"{name} is {shorten(value)}: expected {_expected(spec, name)}.", name
    chosen = next(entry for entry in spec.events if entry.name == event["event_name"])
    of_zone = problem == "invalid_time" and (chosen.time or spec.time).zone != "UTC"  # of which the models know nothing
    if spec.identity.uuid is not None and document is not None and not of_zone:
        model = EventV1 if event["given_version"] == READABLE_VERSIONS[0] else Event
        return explain(document, model) or _fallback(spec, event)
    return _explain_mapped(spec, event) or _fallback(spec, event)


def _expected(spec: MappingSpec, name: str) -> str:
    if name == spec.properties.object:
        return "an object"
    return "an array of texts" if spec.topics and name == spec.topics.list else "a text or a number"


def _explain_mapped(spec: MappingSpec, event: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Explain a row of another network: its values under the envelope's names, the fields under the source's."""
    chosen = next(entry for entry in spec.events if entry.name == event["event_name"])
    time = chosen.time or spec.time
    if event["occurred_at"] is None:
        text = event["time_text"]
        if text is None or text == "":
            return "missing_field", f"{time.column} is missing or empty.", time.column
        return "invalid_time", f"{time.column} is {shorten(text)}: expected {time.expectation}.", time.column
    if event["type"] is None:
        field = ", ".join(chosen.type.columns)
        return "unknown_type", f"{field} names no event: expected one of {_values(chosen.type)}.", field
    names = ("event_id", "type", "network", "actor", "object", "campaign", "occurred_at")
    found = explain({name: event[name] for name in names})
    if found is None:
        return None
    reason, detail, name = found
    field = _source_field(spec, chosen, name)
    if name == "occurred_at":
        return reason, f"{field} is {shorten(event['time_text'])}{detail.partition(':')[1]}{_after(detail)}", field
    return reason, detail if field == name else f"{field}: {detail}", field


def _after(detail: str) -> str:
    return detail[detail.index(": read as") + 1 :] if ": read as" in detail else detail


def _values(source: TextSource) -> str:
    return ", ".join(repr(value) for value in (source.values or EVENT_TYPES))


def _source_field(spec: MappingSpec, chosen: EventSpec, name: str) -> str:
    """Return the source's columns behind a column of the envelope."""
    if name == "occurred_at":
        return (chosen.time or spec.time).column
    source = getattr(chosen, name, None) or getattr(spec, name, None)
    return ", ".join(source.columns) or name if isinstance(source, TextSource) else name


def _fallback(spec: MappingSpec, event: Mapping[str, Any]) -> tuple[str, str, str]:
    """Explain what only the columns know: fields a mapping requires, and times after clock correction."""
    problem: str = event["problem"]
    if problem == "missing_field":
        name = next(name for name in ("actor", *spec.required) if event[name] == "")
        chosen = next(entry for entry in spec.events if entry.name == event["event_name"])
        field = _source_field(spec, chosen, name)
        return problem, f"{field} is missing or empty.", field
    if problem == "time_out_of_range":
        detail = f"With a clock offset of {event['offset_ms']} ms the time is {event['event_time']}."
        return problem, detail, spec.clock_offset_ms or ""
    return problem, REASONS[problem].sentence, ""
