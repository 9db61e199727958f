"""The catalogue is complete, its errors name file and key, and a formula is written nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from contracts.metric_catalogue import (
    CATALOGUE_DIR,
    CatalogueError,
    Count,
    Ratio,
    catalogue,
    load_catalogue,
)
from contracts.metric_files import FILES, part_sql

ROOT = Path(__file__).resolve().parents[3]
MACROS = ROOT / "dbt_project" / "macros" / "metrics.sql"

PROMISED = {
    "events", "active_actors", "posts", "comments", "shares", "reactions", "views", "clicks", "impressions",
    "conversions", "engagements", "conversation_rate", "amplification_rate", "applause_rate", "click_through_rate",
    "conversion_rate_ads",
}  # fmt: skip


def test_every_promised_metric_is_there_and_says_what_it_is() -> None:
    metrics = catalogue()
    assert metrics.keys() >= PROMISED
    for metric in metrics.values():
        assert metric.title
        assert metric.description
        assert metric.formula
        assert metric.unit
        assert metric.null_rule
        assert "docs/definitions.md" in metric.source


def test_rates_are_null_without_a_denominator_and_are_never_additive() -> None:
    for metric in catalogue().values():
        if isinstance(metric.measure, Ratio):
            assert metric.additivity == "ratio"
            assert metric.null_rule.startswith("null when")
        else:
            distinct = isinstance(metric.measure, Count) and metric.measure.column == "actors"
            assert metric.additivity == ("distinct" if distinct else "additive")


@pytest.mark.parametrize("path", FILES)
def test_what_is_made_of_it_is_up_to_date(path: str) -> None:
    current = (ROOT / path).read_text(encoding="utf-8")
    assert current == FILES[path](catalogue()), "run `python -m contracts.metric_files`"


def test_no_formula_is_written_anywhere_else() -> None:
    """Aggregates over the rollup columns, and sets of event types in SQL, occur in the generated macros only."""
    own = {part_sql(m.measure) for m in catalogue().values() if isinstance(m.measure, Count) and m.measure.types}
    by_hand = re.compile(
        r"(sum|uniqExactMerge)If\(\s*(events|actors)\s*,\s*type\b|type\s+IN\s*\(\s*'|countIf\(\s*type\b|type\s*=\s*'[a-z_]+\.",
        re.IGNORECASE,
    )
    folders = ("assets", "serving", "orchestration", "sensors", "streaming", "resources", "analytics", "dbt_project")
    found = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path == MACROS or path.suffix not in {".py", ".sql"} or "target" in path.parts:
                continue
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in by_hand.finditer(text)]
            found += [f"{path.relative_to(ROOT)}: {sql}" for sql in own if sql in text]
    assert found == []


def _write(folder: Path, **changes: object) -> Path:
    entry = yaml.safe_load((CATALOGUE_DIR / "posts.yaml").read_text(encoding="utf-8")) | changes
    path = folder / "posts.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in entry.items() if value is not None}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"unit": None}, "unit"),
        ({"version": 0}, "version"),
        ({"formulla": "x"}, "formulla"),
        ({"additivity": "distinct"}, "additivity"),
        ({"measure": {"types": [], "column": "events"}}, "measure.types"),
        ({"measure": {"types": ["Post'); DROP"], "column": "events"}}, "measure.types.0"),
        ({"measure": {"types": ["post.created"], "column": "likes"}}, "measure.column"),
        ({"measure": {"types": ["post.creatd"], "column": "events"}}, "measure.types: post.creatd"),
        (
            {"additivity": "ratio", "measure": {"numerator": "nope", "denominator": "posts"}},
            "measure.numerator: 'nope'",
        ),
        ({"measure": {"dataset": "sesions", "sum": "sessions"}}, "dataset 'sesions'"),
        ({"measure": {"dataset": "sessions", "sum": "visits"}}, "sum: visits"),
        ({"id": "other"}, "id: 'other'"),
    ],
)
def test_an_error_names_file_and_key(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    path = _write(tmp_path, **changes)
    with pytest.raises(CatalogueError) as error:
        load_catalogue(tmp_path, known_types=frozenset({"post.created"}))
    assert str(path) in str(error.value)
    assert key in str(error.value)


@pytest.mark.parametrize("text", ["- a list", "id: [", ""])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "posts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogueError, match=re.escape(str(path))):
        load_catalogue(tmp_path)
