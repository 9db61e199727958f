"""The JSON Schemas in the repository are those of the models."""

from __future__ import annotations

import json

import jsonschema

from contracts.publish import SCHEMAS_DIR, schema_files


def test_published_files_equal_the_models() -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS_DIR.glob("*.json")}
    assert published == schema_files(), "run: python -m contracts.publish"


def test_published_files_are_json_schemas() -> None:
    for content in schema_files().values():
        jsonschema.Draft202012Validator.check_schema(json.loads(content))
