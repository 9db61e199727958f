"""The archive when things go wrong: kills between any two steps, readers beside compaction, full disks, litter."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resources.archive import Archive, ArchiveUnavailableError, open_archive
from resources.archive.object_archive import ObjectArchive
from resources.archive.objects import open_objects

HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _impatient(url: str) -> ObjectArchive:
    """An archive that deletes what is replaced or orphaned at once."""
    return ObjectArchive(url, open_objects(url), keep_replaced=timedelta(0), keep_orphans=timedelta(0))


@pytest.mark.parametrize(
    ("crash", "rows"),
    [
        (("archive.object_written", "1"), 0),
        (("archive.manifest_written", "1"), 40),
        (("archive.object_written", "2"), 40),
        (("archive.object_written", "3"), 100),
        (("archive.manifest_written", "3"), 100),
        (("archive.manifest_deleted", "1"), 100),
        (("archive.object_deleted", "1"), 100),
    ],
)
def test_a_kill_between_any_two_steps_loses_and_doubles_nothing(
    tmp_path: Path, make_events: Any, monkeypatch: pytest.MonkeyPatch, crash: tuple[str, str], rows: int
) -> None:
    """Two writes and a compaction, killed; what is live is whole; the same program again finishes the work."""
    url = (tmp_path / "archive").as_uri()
    for start, end in ((0, 40), (40, 100)):
        make_events(start, end).write_ipc(tmp_path / f"{start}.arrow")
    program = [str(Path(__file__).with_name("_compactor.py")), url, str(tmp_path)]
    environment = os.environ | {"TALLY_CRASH_AT": crash[0], "TALLY_CRASH_AFTER": crash[1]}
    killed = subprocess.run([sys.executable, *program], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    archive = _impatient(url)
    between = archive.parts()
    for part in between:
        archive.verify(part)
    assert sorted(archive.read(between).collect()["log_offset"]) == list(range(rows))

    monkeypatch.setattr(sys, "argv", program)
    runpy.run_path(program[0])
    (part,) = archive.parts()
    archive.verify(part)
    assert_frame_equal(archive.read([part]).collect(), make_events(0, 100))
    archive.sweep()
    left = sorted(file.suffix for file in (tmp_path / "archive").rglob("*") if file.is_file())
    assert left == [".json", ".parquet"]


def test_compaction_merges_partitions_and_topics_in_order(archive: Archive, make_events: Any, span: Any) -> None:
    frames = []
    for start in range(0, 100, 20):
        ranges = [span(start, start + 20, partition=p) for p in (0, 1)] + [span(start, start + 20, topic="ad-events")]
        frame = pl.concat([make_events(r.start, r.end, r.log_topic, r.log_partition) for r in ranges])
        archive.write_part(HOUR, frame, ranges)
        frames.append(frame)
    old = archive.parts(HOUR)
    part = archive.compact(HOUR)
    assert part is not None
    assert archive.parts() == [part]
    assert part.ranges == (span(0, 100, topic="ad-events"), span(0, 100), span(0, 100, partition=1))
    assert part.replaces == tuple(sorted(p.path for p in old))
    everything = pl.concat(frames).sort("log_topic", "log_partition", "log_offset")
    assert_frame_equal(archive.read([part]).collect(), everything)
    assert part.contents == {
        key: sum(p.contents.get(key, 0) for p in old) for key in sorted({k for p in old for k in p.contents})
    }
    archive.verify(part)
    assert archive.compact(HOUR) is None


def test_compaction_lays_interleaved_parts_in_order(archive: Archive, make_events: Any, span: Any) -> None:
    """One part fills the hole in the middle of another, as after a repaired gap."""
    outer = pl.concat([make_events(0, 4), make_events(8, 12)])
    archive.write_part(HOUR, outer, [span(0, 4), span(8, 12)])
    archive.write_part(HOUR, make_events(4, 8), [span(4, 8)])
    part = archive.compact(HOUR)
    assert part is not None
    assert part.ranges == (span(0, 12),)
    assert_frame_equal(archive.read([part]).collect(), make_events(0, 12))


def test_replaced_parts_stay_for_readers_and_go_later(archive: Archive, make_events: Any, span: Any) -> None:
    for start in (0, 5):
        archive.write_part(HOUR, make_events(start, start + 5), [span(start, start + 5)])
    held = archive.read(archive.parts())
    archive.compact(HOUR)
    assert held.collect().height == 10
    assert archive.sweep() == 0
    assert _impatient(archive.url).sweep() == 2
    assert archive.read(archive.parts()).collect().height == 10


def test_an_object_without_a_manifest_is_no_part(archive: Archive, folder: Path, make_events: Any, span: Any) -> None:
    archive.write_part(HOUR, make_events(0, 5), [span(0, 5)])
    next(folder.rglob("*.json")).unlink()
    assert archive.parts() == []
    assert archive.sweep() == 0  # it might be one that is being written
    assert _impatient(archive.url).sweep() == 1
    assert list(folder.rglob("*.parquet")) == []


def test_readers_always_see_every_position_once_while_parts_are_replaced(
    archive: Archive, make_events: Any, span: Any
) -> None:
    for start in range(0, 60, 10):
        archive.write_part(HOUR, make_events(start, start + 10), [span(start, start + 10)])
    stop = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        reader = open_archive(archive.url)
        while not stop.is_set():
            offsets = sorted(reader.read(reader.parts()).collect()["log_offset"])
            if offsets != list(range(60)):
                wrong.append(offsets)

    thread = threading.Thread(target=read)
    thread.start()
    archive.write_part(HOUR, make_events(0, 30), [span(0, 30)])
    archive.compact(HOUR)
    archive.write_part(HOUR, make_events(0, 60), [span(0, 60)])
    stop.set()
    thread.join()
    assert wrong == []


_FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
import polars as pl
from resources.archive import ArchiveUnavailableError, open_archive
from resources.raw_store import PositionRange
archive = open_archive(sys.argv[1])
events = pl.read_ipc(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    archive.write_part(datetime(2024, 5, 1, 12, tzinfo=UTC), events, [PositionRange("content-events", 0, 0, 500)])
except ArchiveUnavailableError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_transient_names_the_object_and_leaves_no_part(
    archive: Archive, tmp_path: Path, make_events: Any
) -> None:
    make_events(0, 500).write_ipc(tmp_path / "events.arrow")
    command = [sys.executable, "-c", _FULL_DISK, archive.url, str(tmp_path / "events.arrow")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "content-events-p0-0-500" in done.stdout
    assert archive.parts() == []


def test_a_folder_that_cannot_be_made_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveUnavailableError, match="file/archive"):
        open_archive((tmp_path / "file" / "archive").as_uri()).ping()


def test_a_folder_that_vanished_is_noticed(archive: Archive, folder: Path) -> None:
    archive.ping()
    folder.rmdir()
    with pytest.raises(ArchiveUnavailableError, match="archive folder"):
        archive.ping()
