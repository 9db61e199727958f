"""What an audit sees of an archive that somebody has damaged, and what a repair may throw away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.archive import Archive, ArchiveCorruptError, ArchiveError
from resources.raw_store import PositionRange

HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_a_manifest_that_cannot_be_read_is_named_and_hides_no_other_part(
    archive: Archive, folder: Path, make_events: Any
) -> None:
    for start in (0, 10):
        archive.write_part(
            HOUR, make_events(start, start + 10), [PositionRange("content-events", 0, start, start + 10)]
        )
    first, second = sorted(folder.rglob("*.json"))
    first.write_bytes(first.read_bytes()[:50])
    parts, unreadable = archive.inspect()
    assert list(unreadable) == [str(first.relative_to(folder))]
    assert "not a whole manifest" in unreadable[str(first.relative_to(folder))]
    assert len(parts) == 1
    with pytest.raises(ArchiveCorruptError):
        archive.parts()
    with pytest.raises(ArchiveError, match="can be read"):
        archive.discard(str(second.relative_to(folder)))
    archive.discard(str(first.relative_to(folder)))
    assert archive.parts() == parts


def test_what_a_damaged_object_still_holds_can_be_looked_at(archive: Archive, folder: Path, make_events: Any) -> None:
    part = archive.write_part(HOUR, make_events(0, 10), [PositionRange("content-events", 0, 0, 10)])
    pl.read_parquet(folder / part.path).head(7).write_parquet(folder / part.path)
    with pytest.raises(ArchiveCorruptError):
        archive.verify(part)
    assert archive.salvage(part).collect().height == 7
    (folder / part.path).unlink()
    with pytest.raises((FileNotFoundError, pl.exceptions.PolarsError)):
        archive.salvage(part).collect()
