"""A source's rows as columns of text, with what does not fit the mapping's expectation counted.

Belongs here: rows (JSON objects or table cells) → text columns, `raw`, drift. Does not belong here: what a column is
for (`contracts.mapping`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import orjson
import polars as pl

from contracts.json_rows import BadRow, parse_json_rows
from contracts.mapping_model import MappingError
from contracts.rejects import shorten
from contracts.upgrade import V1_COLUMNS

Kind = Literal["text", "int", "float", "bool", "list", "number_or_text"]

_EXPECTED_START: Mapping[Kind, str] = {
    "text": '"',
    "int": "-0-9",
    "float": "-0-9",
    "bool": "tf",
    "list": r"\[",
    "number_or_text": '-"0-9',
}
_EXPECTED_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "number_or_text": (str, int, float),
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a mapping reads: columns (JSON paths) with the kind of value they should hold. Made once per mapping.

    `object_field` is the top-level field that holds a JSON object to keep as it is; `known` are further top-level
    fields that are no surprise; `keep_all` means no field is one.
    """

    kinds: Mapping[str, Kind]
    object_field: str | None = None
    known: frozenset[str] = frozenset()
    keep_all: bool = False
    versioned: bool = False
    schema: Mapping[str, pl.DataType] = field(init=False)
    fields: frozenset[str] = field(init=False)
    shape: msgspec.json.Decoder[Any] = field(init=False)
    suspect: pl.Expr = field(init=False)

    def __post_init__(self) -> None:
        top_level = {path.split(".")[0] for path in self.kinds} | self.known
        fields = frozenset(top_level | ({self.object_field} if self.object_field else set()))
        object.__setattr__(self, "fields", fields)  # the instance is frozen once it is made
        object.__setattr__(self, "schema", _schema(self.kinds))
        object.__setattr__(self, "shape", _shape(self))
        object.__setattr__(self, "suspect", _suspect(self.kinds))


@dataclass(slots=True)
class SourceRows:
    """Readable rows. All series have one length; `positions[i]` is the position in the input of row i.

    `text` has a String column per expected column (List(String) for a list). `objects` is the JSON text of the object
    field, null where absent. `surprises[i]` maps a column of row i to its value of an unexpected JSON type.
    `extras[i]` holds the unknown fields of row i as JSON text.
    """

    text: pl.DataFrame
    positions: list[int]
    raw: pl.Series
    lines: Sequence[bytes] | None
    objects: pl.Series | None = None
    surprises: dict[int, dict[str, Any]] = field(default_factory=dict)
    extras: dict[int, dict[str, bytes]] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    type_changes: Counter[str] = field(default_factory=Counter)

    def payload(self, index: int) -> bytes:
        """Return row i as it came (for table rows: its cells as a JSON object)."""
        return self.lines[index] if self.lines is not None else str(self.raw[index]).encode("utf-8")


def read_table(frame: pl.DataFrame, expected: Expectation, origin: str) -> SourceRows:
    """Read a table of text cells; a null cell is an empty one, whatever has read the table.

    Raises MappingError, naming `origin`, when an expected column is not there.
    """
    missing = [name for name in expected.kinds if name not in frame.columns]
    if missing:
        given = shorten(", ".join(frame.columns), 300)
        raise MappingError(f"{origin}: no column {', '.join(missing)}; the data has {given}")
    cells = frame.select(pl.all().cast(pl.String).fill_null(""))
    rows = SourceRows(
        text=cells.select(list(expected.kinds)),
        positions=list(range(frame.height)),
        raw=cells.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        lines=None,
    )
    if not expected.keep_all:
        unknown = [name for name in frame.columns if name not in expected.kinds and name not in expected.known]
        rows.unknown_fields.update(dict.fromkeys(unknown, frame.height))
    return rows


def read_json(lines: Sequence[bytes], expected: Expectation) -> SourceRows:
    """Read rows that are JSON objects; those that are none are in `bad`."""
    parsed = parse_json_rows(lines, expected.schema)
    bad = list(parsed.bad)
    good = lines if not bad else [lines[position] for position in parsed.positions]
    frame, positions = parsed.frame, parsed.positions
    scan = _scan_fields(good, expected)
    if scan.unreadable:
        keep = [index for index in range(len(good)) if index not in scan.unreadable]
        bad += [BadRow(positions[index], *problem) for index, problem in scan.unreadable.items()]
        good, positions, frame = [good[i] for i in keep], [positions[i] for i in keep], frame[keep]
        scan = _scan_fields(good, expected)
    rows = SourceRows(
        text=frame.select(_path_expr(path).alias(path) for path in expected.kinds),
        positions=positions,
        raw=pl.Series("raw", good, dtype=pl.Binary).cast(pl.String),
        lines=good,
        objects=scan.objects,
        extras=scan.extras,
        bad=bad,
    )
    for extra in scan.extras.values():
        rows.unknown_fields.update(extra.keys())
    _find_surprises(rows, expected)
    return rows


def _schema(kinds: Mapping[str, Kind]) -> dict[str, pl.DataType]:
    """Return the polars schema that reads these paths: nested structs of text."""
    tree: dict[str, Any] = {}
    for path, kind in kinds.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = pl.List(pl.String()) if kind == "list" else pl.String()
    return {name: _dtype(node) for name, node in tree.items()}


def _dtype(node: Any) -> pl.DataType:
    return pl.Struct({name: _dtype(child) for name, child in node.items()}) if isinstance(node, dict) else node


def _path_expr(path: str) -> pl.Expr:
    top, *rest = path.split(".")
    expr = pl.col(top)
    for part in rest:
        expr = expr.struct.field(part)
    return expr


def _shape(expected: Expectation) -> msgspec.json.Decoder[Any]:
    """Return a decoder that refuses rows with unknown fields and keeps the text of the object field, as `kept`."""
    fields = expected.fields - V1_COLUMNS.keys() if expected.versioned else expected.fields
    # A name that msgspec cannot hold is left to the slow path, which compares all names.
    others = fields - {expected.object_field or ""}
    plain = sorted(name for name in others if name.isprintable() and not set(name) & {'"', "\\"})
    names = {f"field_{number}": name for number, name in enumerate(plain)}
    if expected.object_field is not None:
        names["kept"] = expected.object_field
    row = msgspec.defstruct(
        "Row",
        [(attribute, msgspec.Raw, msgspec.Raw()) for attribute in names],
        rename=names,
        forbid_unknown_fields=not expected.keep_all,
        gc=False,
    )
    return msgspec.json.Decoder(row)


def _suspect(kinds: Mapping[str, Kind]) -> pl.Expr:
    """Return whether a row may hold a value of an unexpected JSON type; seldom true where there is none."""
    by_start: dict[str, list[str]] = {}
    for path, kind in kinds.items():
        by_start.setdefault(_EXPECTED_START[kind], []).append(re.escape(path.split(".")[-1]))
    odd_starts = [rf'(?:{"|".join(names)})"\s*:\s*[^{start}\sn]' for start, names in by_start.items()]
    suspect = pl.col("raw").str.contains(f'"(?:{"|".join(odd_starts)})')
    odd = pl.element().str.contains(r"^(?:[\[{]|true$|false$)")
    for path in (path for path, kind in kinds.items() if kind == "list"):
        suspect |= pl.col(path).list.eval(odd).list.any().fill_null(False)
    return suspect


@dataclass(slots=True)
class _Scan:
    objects: pl.Series | None = None
    extras: dict[int, dict[str, bytes]] = field(default_factory=dict)
    unreadable: dict[int, tuple[str, str]] = field(default_factory=dict)


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _scan_fields(lines: Sequence[bytes], expected: Expectation) -> _Scan:
    """Find unknown top-level fields, rows that are no objects, and the text of the object field, byte for byte."""
    decode = expected.shape.decode
    scan = _Scan()
    try:
        shapes: list[Any] = [decode(line) for line in lines]
        objects = [row.kept for row in shapes] if expected.object_field else []
    except (msgspec.DecodeError, RecursionError):
        objects = [_scan_row(line, index, expected, scan) for index, line in enumerate(lines)]
    if expected.object_field:
        texts = [bytes(value) for value in objects]
        series = pl.Series("object", texts, dtype=pl.Binary).cast(pl.String)
        scan.objects = series.set((series == "") | (series == "null"), None)
    return scan


def _scan_row(line: bytes, index: int, expected: Expectation, scan: _Scan) -> msgspec.Raw:
    try:
        fields = _FIELDS.decode(line)
    except RecursionError:
        scan.unreadable[index] = ("too_deep", "The row nests objects or arrays too deeply.")
        return msgspec.Raw()
    except msgspec.ValidationError:
        scan.unreadable[index] = ("not_an_object", f"The row is no object but {line[:80].decode('utf-8', 'replace')}.")
        return msgspec.Raw()
    allowed = expected.fields
    if expected.versioned and bytes(fields.get("schema_version", b"")).strip(b'"') != b"1":
        allowed = allowed - V1_COLUMNS.keys()
    if not expected.keep_all and (unknown := fields.keys() - allowed):
        scan.extras[index] = {name: bytes(fields[name]) for name in sorted(unknown)}
    return fields.get(expected.object_field or "", msgspec.Raw())


def _find_surprises(rows: SourceRows, expected: Expectation) -> None:
    """Note every value whose JSON type is not the expected one: a regex over the rows names suspects, JSON decides."""
    lists = [path for path, kind in expected.kinds.items() if kind == "list"]
    frame = pl.DataFrame([rows.raw, *(rows.text[path] for path in lists)])
    for index in frame.select(expected.suspect).to_series().arg_true():
        document = orjson.loads(rows.payload(index))
        for path, kind in expected.kinds.items():
            value = _walk(document, path)
            if value is not None and not _fits(value, kind):
                rows.surprises.setdefault(index, {})[path] = value
                rows.type_changes[path] += 1


def _walk(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _fits(value: Any, kind: Kind) -> bool:
    if isinstance(value, bool) and kind != "bool":
        return False
    if kind == "list" and isinstance(value, list):
        return all(element is None or _fits(element, "number_or_text") for element in value)
    return isinstance(value, _EXPECTED_TYPES[kind])
