"""The OpenAPI schema is a promise: a change of it shows here. UPDATE_SNAPSHOTS=1 accepts one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).with_name("openapi_snapshot.json")


def test_the_schema_is_the_one_published(service: Any) -> None:
    given = service.http.get("/openapi.json")
    assert given.status_code == 200
    text = json.dumps(given.json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_every_route_says_how_it_refuses(service: Any) -> None:
    for path, methods in service.http.get("/openapi.json").json()["paths"].items():
        for method, route in methods.items():
            assert {"400", "401", "403", "404", "429", "503"} <= route["responses"].keys(), (method, path)
            assert route["security"], (method, path)
            assert route["description"], (method, path)
