"""The archive on an S3 endpoint: the same promises as in a folder.

Needs `TALLY_TEST_S3_URL` (an empty or disposable `s3://bucket/prefix`) and the `AWS_*` variables that reach it:
AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from contracts.envelope import SCHEMA_VERSION, STORED_SCHEMA
from resources.archive import ArchiveCorruptError, open_archive
from resources.archive.object_archive import ObjectArchive
from resources.archive.objects import open_objects
from resources.raw_store import PositionRange

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif("TALLY_TEST_S3_URL" not in os.environ, reason="TALLY_TEST_S3_URL names no S3 endpoint"),
]
HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def url() -> str:
    return f"{os.environ['TALLY_TEST_S3_URL'].rstrip('/')}/{uuid.uuid4().hex}"


def _events(start: int, end: int) -> pl.DataFrame:
    offsets = list(range(start, end))
    values = {
        "event_id": [f"id-{n}" for n in offsets],
        "network": ["app"] * len(offsets),
        "raw": [f'{{"n": {n}}}' for n in offsets],
        "topics": [["a"]] * len(offsets),
        "event_time": [HOUR + timedelta(minutes=n) for n in offsets],
        "occurred_at": [HOUR] * len(offsets),
        "received_at": [HOUR] * len(offsets),
        "schema_version": [SCHEMA_VERSION] * len(offsets),
        "log_topic": ["content-events"] * len(offsets),
        "log_partition": [0] * len(offsets),
        "log_offset": offsets,
    }
    return pl.DataFrame({**{name: [""] * len(offsets) for name in STORED_SCHEMA}, **values}, schema=STORED_SCHEMA)


def _span(start: int, end: int) -> PositionRange:
    return PositionRange("content-events", 0, start, end)


def test_parts_are_written_read_pruned_verified_compacted_and_swept(url: str) -> None:
    archive = open_archive(url)
    archive.ping()
    assert archive.parts() == []
    for start in (0, 60):
        part = archive.write_part(HOUR, _events(start, start + 60), [_span(start, start + 60)])
        assert archive.write_part(HOUR, _events(start, start + 60), [_span(start, start + 60)]) == part
    parts = archive.parts(HOUR)
    assert [part.rows for part in parts] == [60, 60]
    assert_frame_equal(archive.read(parts).collect(), _events(0, 120))
    late = archive.read(parts, (HOUR + timedelta(hours=1), HOUR + timedelta(hours=2)), "app").collect()
    assert late["log_offset"].to_list() == list(range(60, 120))
    merged = archive.compact(HOUR)
    assert merged is not None
    assert open_archive(url).parts() == [merged]
    archive.verify(merged)
    assert_frame_equal(archive.read([merged]).collect(), _events(0, 120))
    assert ObjectArchive(url, open_objects(url), timedelta(0), timedelta(0)).sweep() == 2
    archive.verify(merged)


def test_an_altered_object_fails_verification_by_name(url: str) -> None:
    archive = open_archive(url)
    part = archive.write_part(HOUR, _events(0, 60), [_span(0, 60)])
    objects = open_objects(url)
    data = bytearray(objects.get(part.path))
    data[len(data) // 2] ^= 1
    objects.put(part.path, bytes(data))
    with pytest.raises(ArchiveCorruptError, match=f"{url}/{part.path}: SHA-256"):
        archive.verify(part)
    objects.put(part.path, bytes(data[:-5]))
    with pytest.raises(ArchiveCorruptError, match="bytes long"):
        archive.read([part])
    objects.delete(part.path)
    with pytest.raises(ArchiveCorruptError, match="is gone"):
        archive.verify(part)
