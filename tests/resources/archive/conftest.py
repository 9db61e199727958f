"""Fixtures of the archive's suite: an archive of the test's own, in a folder or on S3, and events to put into it."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.envelope import SCHEMA_VERSION, STORED_SCHEMA
from resources.archive import Archive, open_archive
from resources.raw_store import PositionRange

HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive folder"


def _kinds() -> list[Any]:
    s3 = pytest.param("s3", marks=pytest.mark.servers)
    return ["folder", *([s3] if os.environ.get("TALLY_TEST_S3_URL") else [])]


@pytest.fixture(params=_kinds())
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """`TALLY_TEST_S3_URL` (with the AWS_* variables) adds S3, for tests that do not look at the folder themselves."""
    if request.param == "folder":
        return open_archive((tmp_path / "archive folder").as_uri())
    if "folder" in request.fixturenames:
        pytest.skip("looks at the archive's files in its folder")
    return open_archive(f"{os.environ['TALLY_TEST_S3_URL'].rstrip('/')}/{uuid.uuid4().hex}")


@pytest.fixture
def make_events() -> Any:
    def make(start: int, end: int, topic: str = "content-events", partition: int = 0, **extra: Any) -> pl.DataFrame:
        """One event per offset of `[start, end)`; one a minute from the ingest hour on, networks in turn."""
        offsets = list(range(start, end))
        columns: dict[str, Any] = {
            "workspace": "acme",
            "event_id": [f"{topic}-{partition}-{n}" for n in offsets],
            "type": "post.created",
            "network": [("app", "bluesky")[n % 2] for n in offsets],
            "actor": [f"user-{n % 7}" for n in offsets],
            "object": "",
            "campaign": "",
            "topics": [["spring"] if n % 3 else [] for n in offsets],
            "properties": "{}",
            "occurred_at": HOUR,
            "received_at": HOUR,
            "event_time": [HOUR + timedelta(minutes=n) for n in offsets],
            "time_flag": "ok",
            "sdk": "python/0.1.0",
            "schema_version": SCHEMA_VERSION,
            "receipt_id": "receipt-1",
            "raw": [f'{{"n": {n}}}' for n in offsets],
            "log_topic": topic,
            "log_partition": partition,
            "log_offset": offsets,
        }
        columns |= extra
        full = {name: value if isinstance(value, list) else [value] * len(offsets) for name, value in columns.items()}
        return pl.DataFrame(full, schema=STORED_SCHEMA)

    return make


@pytest.fixture
def span() -> Any:
    def make(start: int, end: int, topic: str = "content-events", partition: int = 0) -> PositionRange:
        return PositionRange(topic, partition, start, end)

    return make
