"""The JSON Schemas in the repository are those of the models."""

from __future__ import annotations

import json

import jsonschema

from contracts.publish import SCHEMAS_DIR, schema_files
from contracts.upgrade import V1_COLUMNS


def test_published_files_equal_the_models() -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS_DIR.glob("*.json")}
    assert published == schema_files(), "run: python -m contracts.publish"


def test_published_files_are_json_schemas() -> None:
    for content in schema_files().values():
        jsonschema.Draft202012Validator.check_schema(json.loads(content))


def test_a_row_of_the_version_before_has_all_that_this_version_requires() -> None:
    old, new = (json.loads(schema_files()[f"event.{version}.json"]) for version in ("v1", "v2"))
    renamed = {V1_COLUMNS.get(name, name) for name in old["properties"]}
    required = {V1_COLUMNS.get(name, name) for name in old["required"]}
    assert set(new["required"]) <= required
    assert renamed <= set(new["properties"])
    assert set(new["properties"]) - renamed == {"topics", "campaign"}
