"""docs/mappings.md tells the truth: every key of a mapping is on it and no other, and its examples do what they say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
import yaml
from pydantic import BaseModel

from contracts.batch import Context
from contracts.mapping import load_mapping
from contracts.mapping_model import (
    Condition,
    EventSpec,
    Identity,
    MappingSpec,
    Properties,
    Source,
    Time,
    Topics,
    read_spec,
)

PAGE = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
BASE = {
    "format": "ndjson",
    "identity": {"columns": ["a"]},
    "time": {"column": "t", "format": "iso8601"},
    "actor": "a",
    "events": [{"type": "post.created"}],
}


def tables(title: str) -> list[list[str]]:
    """First cells of every table whose first column is headed `key`, table by table."""
    found = re.findall(r"^\| key \|.*\n\|.*\n((?:\|.*\n)+)", SECTIONS[title], re.MULTILINE)
    return [re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) for rows in found]


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    ("title", "models"),
    [
        ("Keys of a mapping", [MappingSpec]),
        ("Where a text comes from", [Source]),
        ("Ids", [Identity]),
        ("Times", [Time]),
        ("Topics", [Topics]),
        ("Properties", [Properties]),
        ("Events", [EventSpec, Condition]),
    ],
)
def test_every_key_is_on_the_page_and_no_other(title: str, models: list[type[BaseModel]]) -> None:
    for model, keys in zip(models, tables(title), strict=True):
        assert sorted(keys) == sorted(model.model_fields), f"{title}: {model.__name__}"


def test_every_time_format_is_on_the_page() -> None:
    names = get_args(get_args(Time.model_fields["format"].annotation)[0])
    told = re.findall(r"^\| `(\w+)` \|", SECTIONS["Times"].split("| format | reads")[1], re.MULTILINE)
    assert told == list(names)


def test_every_fragment_is_a_mapping_when_the_rest_is_added(tmp_path: Path) -> None:
    for title in list(SECTIONS)[2:]:
        for block in blocks("yaml", SECTIONS[title]):
            entries = re.split(r"^(?=\w)", block, flags=re.MULTILINE)[1:]
            for entry in entries:
                key, value = next(iter(yaml.safe_load(entry).items()))
                document = {**BASE, "events": [{key: value}]} if key == "type" else {**BASE, key: value}
                path = tmp_path / "fragment.yaml"
                path.write_text(yaml.safe_dump(document))
                read_spec(path)


def test_the_worked_example_does_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(blocks("yaml")[0])
    rows = pl.read_csv(blocks("csv")[0].encode(), infer_schema=False)
    context = Context(workspace="demo", received_at=datetime(2026, 3, 3, tzinfo=UTC), receipt_id="r", source="feed.csv")
    mapped = load_mapping(path).apply(rows, context)
    assert (mapped.valid.height, mapped.rejected["detail"].to_list()) == (4, ["member: actor is empty."])
    assert mapped.valid["network"].unique().to_list() == ["shop"]
    assert mapped.valid["topics"].to_list() == [[], ["design", "home"], ["home"], []]
    assert mapped.valid["occurred_at"][1] == datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    assert mapped.valid["properties"][1] == '{"words":"Too bright #Design #home","stars":3,"lang":"de"}'
    assert mapped.unknown_fields == {}
