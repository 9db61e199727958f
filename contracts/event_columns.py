"""A mapping applied to a source's columns: the envelope's columns, and the first problem of each event.

Belongs here: the columnar hot path of `contracts.mapping`. Does not belong here: sentences about what is wrong
(`contracts.checks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from contracts.batch import Context
from contracts.checks import Misfits, problem_column
from contracts.envelope import SCHEMA_VERSION, UTC_MS
from contracts.hashtags import hashtags_in, topics_in
from contracts.identity import SEPARATOR, canonical_uuid, derive_ids
from contracts.mapping_model import FILE_PART, ROW_PART, Condition, EventSpec, MappingSpec, Source, Time
from contracts.properties import property_column
from contracts.reading import file_identity
from contracts.source_rows import SourceRows
from contracts.times import TimeUnit, batch_offset_ms, parse_epoch, parse_formats, parse_iso8601, three_times
from contracts.upgrade import upgrade_columns

_EPOCH_UNITS: dict[str, TimeUnit] = {"epoch_s": "s", "epoch_ms": "ms", "epoch_us": "us"}


def build_events(
    spec: MappingSpec, source: SourceRows, context: Context, *, label: str, misfits: Misfits
) -> pl.DataFrame:
    """Return one line per event, ordered by row and then as the mapping lists them.

    Columns: EVENT_SCHEMA's, `row` (index into `source`), `event_name`, `time_text`, and `problem`: the code of what is
    wrong, '' for a valid event. A row to which no event applies has one line with problem `no_event`.
    """
    text = _with_version(spec, source.text)
    shared = text.select(
        row=pl.int_range(pl.len(), dtype=pl.Int64),
        workspace=pl.lit(context.workspace),
        network=_text(spec.network),
        topics=_topics(spec),
        properties=pl.lit(property_column(spec, source)),
        received_at=pl.lit(context.received_at, dtype=UTC_MS),
        sdk=_text(spec.sdk) if spec.sdk else pl.lit(label),
        receipt_id=pl.lit(context.receipt_id),
        raw=pl.lit(source.raw),
        given_workspace=pl.col(spec.workspace) if spec.workspace else pl.lit(None, dtype=pl.String),
        given_version=pl.col("given_version") if spec.schema_version else pl.lit(SCHEMA_VERSION, dtype=pl.Int64),
        schema_version=pl.lit(SCHEMA_VERSION, dtype=pl.UInt16),
        offset_ms=_offset_ms(spec, context),
    )
    if len(spec.events) == 1 and spec.events[0].when is None:
        return _one_event(spec, spec.events[0], _Rows(shared, text), source=source, context=context, misfits=misfits)
    parts = []
    covered = pl.repeat(False, text.height, dtype=pl.Boolean, eager=True)
    for order, event in enumerate(spec.events):
        applies = _applies(event.when, text)
        covered |= applies
        rows = _Rows(shared.filter(applies), text.filter(applies))
        part = _one_event(spec, event, rows, source=source, context=context, misfits=misfits)
        parts.append(part.with_columns(order=pl.lit(order)))
    if not covered.all():
        parts.append(shared.filter(~covered).with_columns(problem=pl.lit("no_event"), order=pl.lit(0)))
    return pl.concat(parts, how="diagonal").sort("row", "order", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to which an event applies: what all events of a row share, and the source's text columns."""

    shared: pl.DataFrame
    text: pl.DataFrame


def _one_event(
    spec: MappingSpec, event: EventSpec, rows: _Rows, *, source: SourceRows, context: Context, misfits: Misfits
) -> pl.DataFrame:
    time = event.time or spec.time
    actor, object_, campaign = event.actor or spec.actor, event.object or spec.object, event.campaign or spec.campaign
    own = rows.text.select(
        type=_text(event.type),
        actor=_text(actor).fill_null(""),
        object=_text(object_).fill_null("") if object_ else pl.lit(""),
        campaign=_text(campaign).fill_null("") if campaign else pl.lit(""),
        occurred_at=pl.lit(_time(time, rows.text)),
        time_text=pl.col(time.column),
        event_id=pl.lit(_event_id(spec, event, rows, source, context)),
        event_name=pl.lit(event.name),
    )
    event_time, flag = three_times(pl.col("occurred_at"), pl.col("received_at"), pl.col("offset_ms"))
    frame = pl.concat([rows.shared, own], how="horizontal").with_columns(event_time=event_time, time_flag=flag)
    return frame.with_columns(problem=problem_column(spec, misfits))


def _with_version(spec: MappingSpec, text: pl.DataFrame) -> pl.DataFrame:
    """Read rows of the version before as this one; `given_version` is the row's own version, -1 if it is no integer."""
    if spec.schema_version is None:
        return text
    given = pl.col(spec.schema_version)
    number = pl.when(given.is_null()).then(SCHEMA_VERSION).otherwise(given.cast(pl.Int64, strict=False).fill_null(-1))
    versioned = text.with_columns(number.cast(pl.Int64).alias("schema_version"))
    return upgrade_columns(versioned.with_columns(pl.col("schema_version").alias("given_version")))


def _text(source: Source) -> pl.Expr:
    """Return the text a source gives for each row; null where a column of it is absent (of a join: or empty)."""
    if source.constant is not None:
        return pl.lit(source.constant)
    if source.column is not None:
        value = pl.col(source.column)
    else:
        parts = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in source.join]
        value = pl.concat_str(parts, separator=source.separator)
    if source.values is not None:
        return value.fill_null("").replace_strict(source.values, default=source.default, return_dtype=pl.String)
    return value if source.default is None else value.fill_null(source.default)


def _topics(spec: MappingSpec) -> pl.Expr:
    if spec.topics is None:
        return pl.lit([], dtype=pl.List(pl.String))
    if spec.topics.hashtags_in is not None:
        return hashtags_in(spec.topics.hashtags_in)
    return topics_in(spec.topics.list or "")


def _time(time: Time, text: pl.DataFrame) -> pl.Series:
    value = text[time.column]
    if time.format == "iso8601":
        return parse_iso8601(value, time.zone)
    if time.format == "iso8601_or_epoch_ms":
        parsed = parse_iso8601(value, time.zone)
        if parsed.null_count() == value.null_count():
            return parsed
        rest = parsed.is_null() & value.is_not_null()
        return parsed.scatter(rest.arg_true(), parse_epoch(value.filter(rest), "ms"))
    if isinstance(time.format, str):
        return parse_epoch(value, _EPOCH_UNITS[time.format])
    return parse_formats(value, list(time.format), time.zone)


def _offset_ms(spec: MappingSpec, context: Context) -> pl.Expr:
    """Return the clock offset of each row in ms: the row's own, else the batch's; null where the row's is no number."""
    offset = context.clock_offset_ms
    if offset is None:
        offset = batch_offset_ms(context.sent_at, context.received_at)
    batch = pl.lit(offset, dtype=pl.Int64)
    if spec.clock_offset_ms is None:
        return batch
    given = pl.col(spec.clock_offset_ms)
    own = given.cast(pl.Float64, strict=False).round().cast(pl.Int64, strict=False)
    return pl.when(given.is_null()).then(batch).otherwise(own)


def _event_id(spec: MappingSpec, event: EventSpec, rows: _Rows, source: SourceRows, context: Context) -> pl.Series:
    text = rows.text
    if spec.identity.uuid is not None:
        return canonical_uuid(text[spec.identity.uuid])
    parts = [pl.lit(spec.name), *([pl.lit(event.name)] if len(spec.events) > 1 else [])]
    for name in spec.identity.columns:
        if name == FILE_PART:
            parts.append(pl.lit(file_identity(context.source)))
        elif name == ROW_PART:
            numbers = [context.row_number(source.positions[index]) for index in rows.shared["row"]]
            parts.append(pl.lit(pl.Series(numbers, dtype=pl.String, strict=False)))
        else:
            parts.append(pl.col(name).fill_null("\x00"))  # an absent part differs from an empty one
    return derive_ids(text.select(pl.concat_str(parts, separator=SEPARATOR)).to_series())


def _applies(when: Condition | None, text: pl.DataFrame) -> pl.Series:
    if when is None:
        return pl.repeat(True, text.height, dtype=pl.Boolean, eager=True)
    value = text[when.column].fill_null("")
    result = pl.repeat(True, text.height, dtype=pl.Boolean, eager=True)
    if when.equals is not None:
        result &= value == when.equals
    if when.any_of is not None:
        result &= value.is_in(list(when.any_of))
    if when.empty is not None:
        result &= (value == "") == when.empty
    return result
