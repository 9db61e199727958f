"""Writes the published JSON Schemas from the models: `python -m contracts.publish`.

Belongs here: the files in `contracts/schemas/`. Does not belong here: the models (`contracts.event`).
"""

from __future__ import annotations

import json
from pathlib import Path

from contracts.event import Event, EventV1

SCHEMAS_DIR = Path(__file__).parent / "schemas"


def schema_files() -> dict[str, str]:
    """Return the content of each published file by its name: JSON Schema 2020-12, one file per readable version."""
    files = {}
    for name, model in (("event.v1.json", EventV1), ("event.v2.json", Event)):
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
        files[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return files


def main() -> None:
    """Write the files."""
    for name, content in schema_files().items():
        (SCHEMAS_DIR / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
