"""The metric catalogue: what each metric means and how it is measured, one YAML file per metric in `metrics/`.

Belongs here: the model of an entry, loading and checking the files. Does not belong here: the SQL and the pages made of
them (`contracts.metric_files`), queries, buckets, time zones (`serving`, `dbt_project`).

A measure is written over a rollup's columns, `events` (a sum) or `actors` (a mergeable set), and names the event types
it takes; or it is a sum of a fact dataset's measures (`contracts.facts`). A ratio names two other metrics of the same
kind, so each set of types is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contracts.event_types import EVENT_TYPES
from contracts.facts import FACT_DATASETS

CATALOGUE_DIR = Path(__file__).resolve().parent / "metrics"

Additivity = Literal["additive", "distinct", "ratio"]
Column = Literal["events", "actors"]

EVERY_TYPE: tuple[str, ...] = ()
"""What `types: every type` is read as: no restriction."""


class CatalogueError(ValueError):
    """An entry is wrong; the message names the file and the key."""


EventTypeName = Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z_]+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, str_min_length=1)


def _types(value: object) -> object:
    if value == "every type":
        return EVERY_TYPE
    if isinstance(value, list) and value:
        return tuple(value)
    raise ValueError(f"must be 'every type' or a list of event types with at least one item, not {value!r}")


class Count(_Entry):
    """A count over a rollup: the sum of `events`, or the size of the merged set of `actors`, of these event types."""

    types: Annotated[tuple[EventTypeName, ...], BeforeValidator(_types)]
    column: Column


class Fact(_Entry):
    """A sum of measures of a fact dataset."""

    dataset: str
    sum: Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]

    @model_validator(mode="after")
    def _known(self) -> Fact:
        if self.dataset not in FACT_DATASETS:
            raise ValueError(f"dataset {self.dataset!r} is not one of {', '.join(FACT_DATASETS)}")
        known = FACT_DATASETS[self.dataset].measures
        unknown = [name for name in self.sum if name not in known]
        if unknown or not self.sum:
            raise ValueError(f"sum: {', '.join(unknown) or 'nothing'} is not one of {', '.join(known)}")
        return self


class Ratio(_Entry):
    """One metric divided by another, both given by id, of the same bucket and group; times `factor`."""

    numerator: str
    denominator: str
    factor: Annotated[float, Field(gt=0)] = 1


Part = Count | Fact
"""What a ratio's numerator and denominator may be."""


class Metric(_Entry):
    """One entry of the catalogue. A change of `measure` is a new `version`."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    title: str
    description: str
    formula: str
    unit: str
    additivity: Additivity
    null_rule: str
    source: str
    measure: Count | Fact | Ratio

    @model_validator(mode="after")
    def _additivity_fits_measure(self) -> Metric:
        fitting: Additivity = "ratio"
        if isinstance(self.measure, Fact):
            fitting = "additive"
        elif isinstance(self.measure, Count):
            fitting = "additive" if self.measure.column == "events" else "distinct"
        if self.additivity != fitting:
            raise ValueError(f"additivity is {self.additivity!r}, but this measure is {fitting}")
        return self


def load_catalogue(folder: Path, known_types: frozenset[str] | None = None) -> dict[str, Metric]:
    """Read every `*.yaml` of a folder; return metrics by id, in order of id.

    `known_types` are the event types a measure may name; None allows any. Raises CatalogueError naming file and key.
    """
    metrics: dict[str, Metric] = {}
    for path in sorted(folder.glob("*.yaml")):
        metric = _read(path)
        if metric.id != path.stem:
            raise CatalogueError(f"{path}: id: {metric.id!r} must be the file's name, {path.stem!r}")
        metrics[metric.id] = metric
    if not metrics:
        raise CatalogueError(f"{folder}: no metric (*.yaml) here")
    for metric in metrics.values():
        _check_references(folder / f"{metric.id}.yaml", metric, metrics, known_types)
    return metrics


def _read(path: Path) -> Metric:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise CatalogueError(f"{path}: must be a mapping of keys, not {type(content).__name__}")
    measure = content.get("measure")
    if isinstance(measure, dict):
        # choose the variant by its keys, so that an error names the key in the file and not both variants
        model: type[_Entry] = Count
        if {"numerator", "denominator"} & measure.keys():
            model = Ratio
        elif "dataset" in measure:
            model = Fact
        try:
            content["measure"] = model.model_validate(measure)
        except ValidationError as error:
            raise CatalogueError(_describe(path, error, "measure.")) from error
    try:
        return Metric.model_validate(content)
    except ValidationError as error:
        raise CatalogueError(_describe(path, error)) from error


def _describe(path: Path, error: ValidationError, prefix: str = "") -> str:
    found = [f"{prefix}{'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors()]
    return f"{path}: {'; '.join(found)}"


def _check_references(
    path: Path, metric: Metric, metrics: Mapping[str, Metric], known_types: frozenset[str] | None
) -> None:
    if isinstance(metric.measure, Count):
        unknown = sorted(set(metric.measure.types) - known_types) if known_types is not None else []
        if unknown:
            raise CatalogueError(f"{path}: measure.types: {', '.join(unknown)} is not an event type")
        return
    if isinstance(metric.measure, Fact):
        return
    for key in ("numerator", "denominator"):
        target = getattr(metric.measure, key)
        if target not in metrics or isinstance(metrics[target].measure, Ratio):
            counts = ", ".join(m.id for m in metrics.values() if not isinstance(m.measure, Ratio))
            raise CatalogueError(f"{path}: measure.{key}: {target!r} is not one of {counts}")
    if len({dataset_of(part) for part in parts_of(metric, metrics)}) > 1:
        raise CatalogueError(f"{path}: measure: numerator and denominator are not of one dataset")


@cache
def catalogue() -> dict[str, Metric]:
    """Return Tally's own metrics by id."""
    return load_catalogue(CATALOGUE_DIR, frozenset(EVENT_TYPES))


def parts_of(metric: Metric, metrics: Mapping[str, Metric]) -> tuple[Part, ...]:
    """Return what a metric is made of: one count or fact, or a ratio's numerator and denominator."""
    if not isinstance(metric.measure, Ratio):
        return (metric.measure,)
    found = (metrics[metric.measure.numerator].measure, metrics[metric.measure.denominator].measure)
    return tuple(part for part in found if not isinstance(part, Ratio))


def dataset_of(part: Part) -> str:
    """Return the fact dataset of a part; '' for counts, which the engagement rollups answer."""
    return part.dataset if isinstance(part, Fact) else ""


def types_of(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Return the event types that these counts need together, each once; EVERY_TYPE if one needs every type."""
    counts = [part for part in parts if isinstance(part, Count)]
    if any(count.types == EVERY_TYPE for count in counts):
        return EVERY_TYPE
    return tuple(dict.fromkeys(name for count in counts for name in count.types))


def measures_of(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Return the measures that these facts need together, each once."""
    return tuple(dict.fromkeys(name for part in parts if isinstance(part, Fact) for name in part.sum))
