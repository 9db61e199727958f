"""Fixtures of the raw store's contract suite: one store per implementation that can be reached."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.envelope import POSITION_SCHEMA, REJECT_SCHEMA, SCHEMA_VERSION, STORED_SCHEMA
from resources.raw_store import RawStore, open_raw_store

HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _store_urls() -> list[Any]:
    mongodb = pytest.param("mongodb", marks=pytest.mark.servers)
    return ["sqlite", *([mongodb] if os.environ.get("TALLY_TEST_MONGODB_URL") else [])]


@pytest.fixture(params=_store_urls())
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """`TALLY_TEST_MONGODB_URL` (without a database) adds MongoDB's protocol; each test gets a database of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/raw_store.db"
    return f"{os.environ['TALLY_TEST_MONGODB_URL'].rstrip('/')}/tally_test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def store(store_url: str) -> Iterator[RawStore]:
    opened = open_raw_store(store_url)
    opened.ensure_schema()
    yield opened
    if store_url.startswith("mongodb"):
        import pymongo

        with pymongo.MongoClient(store_url) as client:
            client.drop_database(store_url.rsplit("/", 1)[1])
    opened.close()


def _events(
    ids: list[str], start: int = 0, topic: str = "content-events", partition: int = 0, **extra: Any
) -> pl.DataFrame:
    """One valid event per id at consecutive offsets from `start`; `extra` sets columns (a value or a list)."""
    count = len(ids)
    columns: dict[str, Any] = {
        "workspace": "acme",
        "event_id": ids,
        "type": "post.created",
        "network": "app",
        "actor": [f"user-{n % 7}" for n in range(count)],
        "object": [f"post-{n}" for n in range(count)],
        "campaign": "",
        "topics": [["spring", "été"] if n % 2 else [] for n in range(count)],
        "properties": '{"text":"hello","n":1}',
        "occurred_at": [HOUR + timedelta(milliseconds=n) for n in range(count)],
        "received_at": [HOUR + timedelta(seconds=1, milliseconds=n) for n in range(count)],
        "event_time": [HOUR + timedelta(milliseconds=n) for n in range(count)],
        "time_flag": "ok",
        "sdk": "python/0.1.0",
        "schema_version": SCHEMA_VERSION,
        "receipt_id": "receipt-1",
        "raw": [f'{{"id": "{name}"}}' for name in ids],
        "log_topic": topic,
        "log_partition": partition,
        "log_offset": list(range(start, start + count)),
    }
    columns |= extra
    full = {name: value if isinstance(value, list) else [value] * count for name, value in columns.items()}
    return pl.DataFrame(full, schema=STORED_SCHEMA)


@pytest.fixture
def make_events() -> Any:
    return _events


@pytest.fixture
def make_rejects() -> Any:
    def make(count: int, start: int = 0, topic: str = "quarantine", partition: int = 0, **extra: Any) -> pl.DataFrame:
        columns: dict[str, Any] = {
            "reason": "missing_field",
            "detail": "the field 'actor' is missing",
            "field": "actor",
            "place": [f"item {n} of the request" for n in range(count)],
            "workspace": "acme",
            "network": "app",
            "received_at": HOUR,
            "receipt_id": "receipt-1",
            "payload": b'{"broken": \x00\xff',
            "log_topic": topic,
            "log_partition": partition,
            "log_offset": list(range(start, start + count)),
        }
        columns |= extra
        full = {name: value if isinstance(value, list) else [value] * count for name, value in columns.items()}
        return pl.DataFrame(full, schema={**REJECT_SCHEMA, **POSITION_SCHEMA})

    return make
