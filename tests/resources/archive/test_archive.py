"""What users of the archive rely on: parts that prove themselves, reads that prune, repeats that change nothing."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resources.archive import Archive, ArchiveCorruptError, ArchiveError, ArchiveOverlapError, open_archive

HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)
"""The ingest hour of the tests; `make_events` dates events from it."""
POSITION = ["log_topic", "log_partition", "log_offset"]


def test_a_part_gives_back_its_rows_and_tells_what_is_in_it(
    archive: Archive, folder: Path, make_events: Any, span: Any
) -> None:
    events = make_events(10, 130)
    part = archive.write_part(HOUR, events, [span(10, 130)])
    assert part.path.startswith("raw/ingest_date=2024-05-01/ingest_hour=12/content-events-p0-10-130.")
    file = folder / part.path
    assert part.bytes == file.stat().st_size
    assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (part.rows, part.ranges, part.ingest_hour) == (120, (span(10, 130),), HOUR)
    assert part.contents == {
        (HOUR, "app"): 25,
        (HOUR, "bluesky"): 25,
        (HOUR + timedelta(hours=1), "app"): 30,
        (HOUR + timedelta(hours=1), "bluesky"): 30,
        (HOUR + timedelta(hours=2), "app"): 5,
        (HOUR + timedelta(hours=2), "bluesky"): 5,
    }
    assert archive.parts(HOUR) == archive.parts() == [part]
    assert_frame_equal(archive.read([part]).collect(), events)
    archive.verify(part)


def test_the_manifest_is_plain_json_for_other_tools(
    archive: Archive, folder: Path, make_events: Any, span: Any
) -> None:
    part = archive.write_part(HOUR, make_events(0, 3), [span(0, 3)])
    manifest = json.loads((folder / "raw/ingest_date=2024-05-01/ingest_hour=12/content-events-p0-0-3.json").read_text())
    assert manifest["object"] == part.path
    assert manifest["sha256"] == part.sha256
    assert manifest["ranges"] == [{"log_topic": "content-events", "log_partition": 0, "start": 0, "end": 3}]
    assert manifest["contents"][0] == {"event_hour": "2024-05-01T12:00:00Z", "network": "app", "rows": 2}
    assert manifest["schema"]["event_time"].startswith("Datetime")
    assert manifest["written_by"].startswith("tally ")


def test_equal_rows_in_any_order_give_equal_bytes(tmp_path: Path, make_events: Any, span: Any) -> None:
    events = make_events(0, 5_000)
    one = open_archive((tmp_path / "one").as_uri()).write_part(HOUR, events, [span(0, 5_000)])
    shuffled = events.sample(fraction=1, shuffle=True, seed=3)
    two = open_archive((tmp_path / "two").as_uri()).write_part(HOUR, shuffled, [span(0, 2_000), span(2_000, 5_000)])
    assert one == two


def test_writing_a_part_again_changes_nothing(archive: Archive, make_events: Any, span: Any) -> None:
    part = archive.write_part(HOUR, make_events(0, 9), [span(0, 9)])
    assert archive.write_part(HOUR, make_events(0, 9), [span(0, 9)]) == part
    assert archive.parts() == [part]


def test_a_part_written_again_with_other_rows_takes_its_place(archive: Archive, make_events: Any, span: Any) -> None:
    """As after an erasure: the same ranges, fewer rows. A reader that holds the old part can still read it."""
    old = archive.write_part(HOUR, make_events(0, 9), [span(0, 9)])
    new = archive.write_part(HOUR, make_events(0, 8), [span(0, 9)])
    assert archive.parts() == [new]
    assert new.replaces == (old.path,)
    assert archive.read([new]).collect().height == 8
    assert archive.read([old]).collect().height == 9


def test_a_part_may_hold_several_partitions_and_topics(archive: Archive, make_events: Any, span: Any) -> None:
    events = pl.concat([make_events(5, 7, partition=1), make_events(0, 3), make_events(8, 9, topic="ad-events")])
    ranges = [span(5, 7, partition=1), span(0, 3), span(8, 9, topic="ad-events"), span(4, 4, partition=3)]
    part = archive.write_part(HOUR, events, ranges)
    assert "/ad-events-p0-8-9+content-events-p0-0-3_p1-5-7." in part.path
    assert_frame_equal(archive.read([part]).collect(), events.sort(POSITION))


def test_very_many_ranges_still_have_a_name_of_their_own(archive: Archive, make_events: Any, span: Any) -> None:
    empty = make_events(0, 0)
    first = archive.write_part(HOUR, empty, [span(10**9 + n, 10**9 + n + 1, partition=n) for n in range(200)])
    second = archive.write_part(HOUR, empty, [span(10**9 + n, 10**9 + n + 1, partition=n) for n in range(1000, 1200)])
    assert len(Path(first.path).name) < 200
    assert archive.parts() == sorted([first, second], key=lambda part: part.path)


def test_no_rows_is_a_part_that_proves_it(archive: Archive, make_events: Any, span: Any) -> None:
    part = archive.write_part(HOUR, make_events(0, 0), [span(0, 10)])
    assert (part.rows, part.contents) == (0, {})
    archive.verify(part)
    assert_frame_equal(archive.read([part]).collect(), make_events(0, 0))
    assert_frame_equal(archive.read([]).collect(), make_events(0, 0))


def test_reading_prunes_to_event_hours_and_network(archive: Archive, folder: Path, make_events: Any, span: Any) -> None:
    part = archive.write_part(HOUR, make_events(0, 180), [span(0, 180)])
    late = archive.write_part(HOUR, make_events(180, 240), [span(180, 240)])
    start, end = HOUR + timedelta(minutes=30), HOUR + timedelta(minutes=60)
    found = archive.read(archive.parts(), (start, end), "bluesky").collect()
    assert found["log_offset"].to_list() == list(range(31, 60, 2))
    (folder / late.path).unlink()  # what is pruned is not even opened
    assert archive.read([part, late], (start, end)).collect().height == 30
    assert archive.read([part, late], network="wikipedia").collect().is_empty()


def test_parts_are_listed_by_hour(archive: Archive, make_events: Any, span: Any) -> None:
    later = archive.write_part(HOUR + timedelta(hours=1), make_events(9, 12), [span(9, 12)])
    first = archive.write_part(HOUR, make_events(0, 4), [span(0, 4)])
    second = archive.write_part(HOUR, make_events(4, 9), [span(4, 9)])
    assert archive.parts() == [first, second, later]
    assert archive.parts(HOUR) == [first, second]
    assert archive.parts(HOUR - timedelta(days=1)) == []


def test_a_wider_part_replaces_those_it_covers(archive: Archive, make_events: Any, span: Any) -> None:
    """An open hour is archived again and again, each time with more of it."""
    small = archive.write_part(HOUR, make_events(0, 5), [span(0, 5)])
    middle = archive.write_part(HOUR, make_events(5, 9), [span(5, 9)])
    wide = archive.write_part(HOUR, make_events(0, 20), [span(0, 20)])
    assert archive.parts() == [wide]
    assert wide.replaces == tuple(sorted([small.path, middle.path]))
    assert archive.write_part(HOUR, make_events(0, 5), [span(0, 5)]) == wide
    with pytest.raises(ArchiveError, match=r"covers content-events/0 \[0, 5\) with 5 rows, not 4"):
        archive.write_part(HOUR, make_events(0, 4), [span(0, 5)])


def test_ranges_that_cut_through_a_part_are_refused(archive: Archive, make_events: Any, span: Any) -> None:
    archive.write_part(HOUR, make_events(0, 10), [span(0, 10)])
    with pytest.raises(ArchiveOverlapError, match=r"\[5, 10\) of it and content-events/0 \[0, 5\) beside it"):
        archive.write_part(HOUR, make_events(5, 15), [span(5, 15)])
    assert len(archive.parts()) == 1


def test_no_position_comes_out_twice_even_if_parts_overlap(
    archive: Archive, tmp_path: Path, folder: Path, make_events: Any, span: Any
) -> None:
    """Two writers that never saw each other's part: both are there, each position is read once, compaction heals it."""
    other_folder = tmp_path / "other"
    other = open_archive(other_folder.as_uri())
    mine = archive.write_part(HOUR, make_events(0, 10), [span(0, 10)])
    theirs = other.write_part(HOUR, make_events(5, 15), [span(5, 15)])
    for file in (other_folder / theirs.path).parent.iterdir():
        file.rename((folder / mine.path).parent / file.name)
    assert archive.parts() == [mine, theirs]
    for order in ([mine, theirs], [theirs, mine]):
        assert sorted(archive.read(order).collect()["log_offset"]) == list(range(15))
    healed = archive.compact(HOUR)
    assert healed is not None
    assert archive.parts() == [healed]
    assert_frame_equal(archive.read([healed]).collect(), make_events(0, 15))
    assert sum(healed.contents.values()) == 15


@pytest.mark.parametrize("rows", [(0, 11), (3, 3)], ids=["outside", "twice"])
def test_rows_that_do_not_belong_are_refused(
    archive: Archive, folder: Path, make_events: Any, span: Any, rows: tuple[int, int]
) -> None:
    events = pl.concat([make_events(0, 10), make_events(rows[1], rows[1] + 1)])
    with pytest.raises(ArchiveError, match=r"content-events/0@11 is outside|content-events/0@3 is there twice"):
        archive.write_part(HOUR, events, [span(0, 10)])
    assert list(folder.rglob("*.parquet")) == []


def test_what_is_not_an_hour_a_shape_or_a_range_is_named(archive: Archive, make_events: Any, span: Any) -> None:
    with pytest.raises(ArchiveError, match="12:30:00"):
        archive.write_part(HOUR + timedelta(minutes=30), make_events(0, 1), [span(0, 1)])
    with pytest.raises(ArchiveError, match="no time zone"):
        archive.parts(datetime(2024, 5, 1, 12))  # noqa: DTZ001 - a naive time is the case
    with pytest.raises(ArchiveError, match="actor is missing"):
        archive.write_part(HOUR, make_events(0, 1).drop("actor"), [span(0, 1)])
    with pytest.raises(ArchiveError, match="at least one position"):
        archive.write_part(HOUR, make_events(0, 0), [span(7, 7)])
    with pytest.raises(ArchiveError, match=r"'\.\./evil'"):
        archive.write_part(HOUR, make_events(0, 0), [span(0, 1, topic="../evil")])
    for url in ("/data/archive", "file://host/x", "s3:///x", "ftp://x/y", "file:///"):
        with pytest.raises(ArchiveError, match="is no archive"):
            open_archive(url)


def test_an_altered_file_fails_verification_by_name(
    archive: Archive, folder: Path, make_events: Any, span: Any
) -> None:
    part = archive.write_part(HOUR, make_events(0, 50), [span(0, 50)])
    file = folder / part.path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArchiveCorruptError, match=f"content-events-p0-0-50.*SHA-256.*{part.sha256}"):
        archive.verify(part)
    archive.write_part(HOUR, make_events(50, 51), [span(50, 51)])
    with pytest.raises(ArchiveCorruptError, match="SHA-256"):
        archive.compact(HOUR)
    assert archive.write_part(HOUR, make_events(0, 50), [span(0, 50)]) == part  # a repeat heals it
    archive.verify(part)


def test_a_truncated_or_missing_file_is_noticed_when_read(
    archive: Archive, folder: Path, make_events: Any, span: Any
) -> None:
    part = archive.write_part(HOUR, make_events(0, 50), [span(0, 50)])
    file = folder / part.path
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ArchiveCorruptError, match=f"{part.bytes - 10} bytes long; its manifest says {part.bytes}"):
        archive.read([part])
    file.unlink()
    with pytest.raises(ArchiveCorruptError, match=r"content-events-p0-0-50.*is gone"):
        archive.read([part])
    with pytest.raises(ArchiveCorruptError, match="is gone"):
        archive.verify(part)


@pytest.mark.parametrize("text", [b"", b'{"format": "tally-archive-part/1"}', b'{"format": "x"}', b"[1]"])
def test_a_broken_manifest_is_named(archive: Archive, folder: Path, make_events: Any, span: Any, text: bytes) -> None:
    archive.write_part(HOUR, make_events(0, 5), [span(0, 5)])
    next(folder.rglob("*.json")).write_bytes(text)
    with pytest.raises(ArchiveCorruptError, match=r"content-events-p0-0-5\.json"):
        open_archive(archive.url).parts()


def test_a_manifest_changed_by_another_process_is_seen(archive: Archive, make_events: Any, span: Any) -> None:
    archive.write_part(HOUR, make_events(0, 5), [span(0, 5)])
    assert archive.parts()[0].rows == 5
    changed = open_archive(archive.url).write_part(HOUR, make_events(0, 4), [span(0, 5)])
    assert archive.parts() == [changed]


def test_ping_answers(archive: Archive) -> None:
    archive.ping()


def test_hours_are_utc_whatever_the_zone_of_the_caller(archive: Archive, make_events: Any, span: Any) -> None:
    berlin = datetime(2024, 5, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    part = archive.write_part(berlin, make_events(0, 1), [span(0, 1)])
    assert "ingest_date=2024-05-01/ingest_hour=22" in part.path
    assert part.ingest_hour == datetime(2024, 5, 1, 22, tzinfo=UTC)
    assert archive.parts(berlin) == [part]
