"""Network mappings: a source's rows → valid events and rejects, in columns, as a declarative YAML file says.

Belongs here: applying a mapping (`contracts.mapping_model`) to rows. Does not belong here: reading files, the clock,
the log. Only rows that fail the column checks are looked at one by one, for their exact reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import polars as pl

from contracts.batch import Context, MappedBatch
from contracts.checks import explain_row, find_misfits
from contracts.envelope import EVENT_SCHEMA
from contracts.event_columns import build_events
from contracts.mapping_model import NETWORKS_DIR, MappingError, MappingSpec, read_spec
from contracts.reading import split_lines
from contracts.rejects import Reject, reject_frame
from contracts.source_rows import Expectation, Kind, read_json, read_table
from contracts.upgrade import V1_COLUMNS

__all__ = ["Context", "MappedBatch", "Mapping", "MappingError", "list_mappings", "load_mapping"]


class Mapping:
    """A network's mapping, ready to be applied. Immutable and thread-safe."""

    def __init__(self, spec: MappingSpec) -> None:
        self.spec = spec
        self._expected = _expectation(spec)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def label(self) -> str:
        """What events carry as `sdk` when the row names none, e.g. `mapping/wikipedia@1`."""
        return f"mapping/{self.spec.name}@{self.spec.version}"

    @property
    def networks(self) -> frozenset[str]:
        """The networks that the mapping names; where a column does, only those of `values` and `default`."""
        source = self.spec.network
        return frozenset(filter(None, (source.constant, source.default, *(source.values or {}).values())))

    def apply(self, rows: Sequence[bytes] | bytes | pl.DataFrame, context: Context) -> MappedBatch:
        """Map rows: JSON objects as a list (or as one NDJSON buffer), or a table of text cells.

        Raises MappingError when a table lacks a column that the mapping reads. No content of a row raises.
        """
        data = split_lines(rows) if isinstance(rows, bytes) else rows
        if isinstance(data, pl.DataFrame):
            source = read_table(data, self._expected, f"mapping {self.name}, {context.source}")
            rejects: list[Reject] = []
        else:
            source = read_json(data, self._expected)
            rejects = [
                Reject(context.row_number(bad.position), bad.reason, bad.detail, "", data[bad.position])
                for bad in source.bad
            ]
        misfits = find_misfits(self.spec, source)
        events = build_events(self.spec, source, context, label=self.label, misfits=misfits)
        failed = events.filter(pl.col("problem") != "")
        if not failed.is_empty():
            failed = failed.unique("row", keep="first", maintain_order=True)
            events = events.filter(~pl.col("row").is_in(failed["row"].implode()))
        for event in failed.iter_rows(named=True):
            index = event["row"]
            reason, detail, name = explain_row(self.spec, source, event, misfits)
            number = context.row_number(source.positions[index])
            rejects.append(Reject(number, reason, detail, name, source.payload(index)))
        rejects.sort(key=lambda reject: reject.row)
        rejected = reject_frame(
            rejects,
            source=context.source,
            workspace=context.workspace,
            network=self.name,
            received_at=context.received_at,
            receipt_id=context.receipt_id,
        )
        return MappedBatch(
            valid=events.select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items()),
            rejected=rejected,
            rows_read=len(data),
            extra_events=events.height - events["row"].n_unique(),
            valid_positions=[source.positions[index] for index in events["row"]],
            unknown_fields=dict(source.unknown_fields),
            type_changes=dict(source.type_changes),
        )


def _expectation(spec: MappingSpec) -> Expectation:
    """Return what to read from a source: every column the mapping names, with the kind of value it should hold."""
    kinds: dict[str, Kind] = dict(spec.properties.columns)
    for name in spec.role_columns():
        kinds.setdefault(name, "text")
    for time in spec.times():
        if isinstance(time.format, str) and "epoch" in time.format:
            kinds[time.column] = "number_or_text"
    for number in (spec.schema_version, spec.clock_offset_ms):
        if number is not None:
            kinds[number] = "number_or_text"
    if spec.topics and spec.topics.list:
        kinds[spec.topics.list] = "list"
    if spec.schema_version is not None:
        for old, new in V1_COLUMNS.items():
            kinds[old] = kinds[new]
    if spec.format != "ndjson":
        kinds = dict.fromkeys(kinds, "text")  # cells have no other type, also when they come back as JSON for a replay
    return Expectation(
        kinds=kinds,
        object_field=spec.properties.object,
        known=frozenset(spec.ignored),
        keep_all=spec.properties.rest,
        versioned=spec.schema_version is not None,
    )


def list_mappings() -> list[str]:
    """Return the names of the mappings that come with Tally."""
    return sorted(path.stem for path in NETWORKS_DIR.glob("*.yaml"))


def named_networks() -> frozenset[str]:
    """Return the networks that the mappings in `contracts/networks` name; a file that is wrong stands for its own name.

    So one wrong file does not take the others' squares; whoever loads it is told what is wrong.
    """
    names: set[str] = set()
    for name in list_mappings():
        try:
            names |= load_mapping(name).networks
        except MappingError:
            names.add(name)
    return frozenset(names)


def load_mapping(name_or_path: str | Path) -> Mapping:
    """Load a mapping that comes with Tally by its name, or any mapping file by its path (`….yaml`, `….yml`).

    Raises MappingError when there is none, naming those there are, or when the file is wrong, naming file and key.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return Mapping(read_spec(path))
    if str(name_or_path) not in list_mappings():
        raise MappingError(
            f"no mapping {str(name_or_path)!r}; there are {', '.join(list_mappings())}, or give a .yaml file"
        )
    return _bundled(str(name_or_path))


@cache
def _bundled(name: str) -> Mapping:
    return Mapping(read_spec(NETWORKS_DIR / f"{name}.yaml"))
