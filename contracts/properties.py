"""The `properties` column: what is specific to a type or a network, as JSON text.

Belongs here: building that text in columns, losing no value that does not fit its declared type. Does not belong here:
any column of its own in the envelope.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import orjson
import polars as pl

from contracts.mapping_model import MappingSpec, PropertyType
from contracts.source_rows import SourceRows

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False, "yes": True, "no": False}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def property_column(spec: MappingSpec, source: SourceRows) -> pl.Series:
    """Return the `properties` of each row as the text of one JSON object; null where the object field holds none."""
    if spec.properties.object is not None:
        return _given_object(source)
    if spec.properties.rest:
        return _all_the_rest(spec, source)
    if not spec.properties.columns:
        return pl.Series("properties", ["{}"], dtype=pl.String).new_from_index(0, len(source.raw))
    return _typed_columns(spec, source)


def _typed_columns(spec: MappingSpec, source: SourceRows) -> pl.Series:
    """A value that cannot be read as its declared type keeps the type it came with, and is counted as a change."""
    declared = spec.properties.columns
    typed = source.text.select(_cast(name, kind) for name, kind in declared.items())
    encoded = typed.select(pl.struct(pl.all()).struct.json_encode()).to_series().alias("properties")
    kept: dict[int, dict[str, Any]] = {}
    for name, kind in declared.items():
        text = source.text[name]
        if kind != "text":
            for index in (typed[name].is_null() & text.is_not_null() & (text != "")).arg_true():
                surprise = source.surprises.get(index, {})
                if name not in surprise:  # a fraction for an integer, or a table's cell: JSON types do not tell
                    source.type_changes[name] += 1
                kept.setdefault(index, {})[name] = surprise.get(name, _as_came(text[index]))
    for index, values in source.surprises.items():
        nested = {name: value for name, value in values.items() if name in declared and isinstance(value, dict | list)}
        if nested:
            kept.setdefault(index, {}).update(nested)
    if not kept:
        return encoded
    rows = list(kept)
    repaired = [orjson.dumps(orjson.loads(encoded[index]) | kept[index]).decode() for index in rows]
    return encoded.scatter(rows, repaired)


def _cast(name: str, kind: PropertyType) -> pl.Expr:
    column = pl.col(name)
    if kind == "int":
        return column.cast(pl.Int64, strict=False)
    if kind == "float":
        number = column.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number).alias(name)
    if kind == "bool":
        return column.str.to_lowercase().replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
    return column


def _as_came(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and "_" not in text else text


def _given_object(source: SourceRows) -> pl.Series:
    objects = source.objects
    if objects is None:
        return pl.Series("properties", ["{}"] * len(source.raw), dtype=pl.String)
    given = objects.fill_null("{}")
    given = given.set(~given.str.starts_with("{"), None).alias("properties")
    if not source.extras:
        return given
    rows = [index for index in source.extras if given[index] is not None]
    return given.scatter(rows, [_with_extras(given[index], source.extras[index]) for index in rows])


def _with_extras(given: str, extras: dict[str, bytes]) -> str:
    """Add unknown fields to an object, byte for byte; a name that the object has already stays the object's."""
    names = _FIELDS.decode(given.encode()).keys()
    added = [orjson.dumps(name) + b":" + value for name, value in extras.items() if name not in names]
    if not added:
        return given
    inner = given[1:-1].strip()
    return "{" + ",".join([*([inner] if inner else []), *(entry.decode() for entry in added)]) + "}"


def _all_the_rest(spec: MappingSpec, source: SourceRows) -> pl.Series:
    used = {name.split(".")[0] for name in spec.role_columns()} | set(spec.ignored)
    texts = []
    for raw in source.raw:
        rest = {name: value for name, value in _FIELDS.decode(raw.encode()).items() if name not in used}
        texts.append(msgspec.json.encode(rest).decode())
    return pl.Series("properties", texts, dtype=pl.String)
