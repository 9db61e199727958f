"""The SQLite raw store when things go wrong: full disks, broken files, other releases, readers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from resources.raw_store import (
    PositionRange,
    QuarantineFilter,
    RawStoreError,
    RawStoreUnavailableError,
    VerdictCounts,
    open_raw_store,
)

TOPIC = "content-events"


_FULL_DISK = """
import resource, sys
import polars as pl
from resources.raw_store import RawStoreUnavailableError, open_raw_store
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
store = open_raw_store(sys.argv[1])
try:
    store.put_events(pl.read_ipc(sys.argv[2]))
except RawStoreUnavailableError as error:
    print(error)
    sys.exit(7)
"""


def test_a_full_disk_is_transient_names_the_file_and_leaves_nothing_half_written(
    tmp_path: Path, make_events: Any
) -> None:
    url = f"sqlite:///{tmp_path}/raw.db"
    store = open_raw_store(url)
    store.ensure_schema()
    store.put_events(make_events(["before"]))
    batch = make_events([f"id-{n}" for n in range(3_000)], start=1)
    batch.write_ipc(tmp_path / "batch.arrow")
    command = [sys.executable, "-c", _FULL_DISK, url, str(tmp_path / "batch.arrow"), "200000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert str(tmp_path / "raw.db") in done.stdout
    where = PositionRange(TOPIC, 0, 0, 3_001)
    assert store.verdicts([where])[where] == VerdictCounts(1, 0, 0)
    assert store.put_events(batch) == VerdictCounts(3_000, 0, 0)


def test_a_folder_that_cannot_be_used_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "raw.db"):
        with pytest.raises(RawStoreUnavailableError, match=str(path)):
            open_raw_store(f"sqlite:///{path}").ping()


def test_a_file_that_is_no_database_is_an_error_not_transient(tmp_path: Path) -> None:
    (tmp_path / "raw.db").write_bytes(b"this is not a database, it is a text" * 100)
    with pytest.raises(RawStoreError, match=r"raw\.db: file is not a database") as caught:
        open_raw_store(f"sqlite:///{tmp_path}/raw.db").ping()
    assert not isinstance(caught.value, RawStoreUnavailableError)


def test_a_store_without_its_tables_says_what_to_do(tmp_path: Path, make_events: Any) -> None:
    with pytest.raises(RawStoreError, match="call ensure_schema first"):
        open_raw_store(f"sqlite:///{tmp_path}/raw.db").put_events(make_events(["a"]))


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "raw.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(RawStoreError, match="written by a newer release"):
        open_raw_store(f"sqlite:///{tmp_path}/raw.db").ensure_schema()


def test_ensuring_the_schema_again_keeps_everything(tmp_path: Path, make_events: Any) -> None:
    store = open_raw_store(f"sqlite:///{tmp_path}/deep/er/raw.db")
    store.ensure_schema()
    store.put_events(make_events(["a"]))
    store.ensure_schema()
    assert store.get_event("acme", "a")
    store.close()
    assert store.get_event("acme", "a")


def test_readers_see_whole_batches_while_a_writer_writes(tmp_path: Path, make_events: Any) -> None:
    url = f"sqlite:///{tmp_path}/raw.db"
    writer, reader = open_raw_store(url), open_raw_store(url)
    writer.ensure_schema()
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            writer.put_events(make_events([f"id-{number}-{n}" for n in range(100)], start=number * 100))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen: list[int] = []
    where = PositionRange(TOPIC, 0, 0, 2_000)
    while not done.is_set():
        seen.append(reader.verdicts([where])[where].stored)
    thread.join()
    assert all(count % 100 == 0 for count in seen)
    assert seen == sorted(seen)
    assert reader.verdicts([where])[where].stored == 2_000


def test_an_unfinished_reader_does_not_hold_up_a_writer(tmp_path: Path, make_events: Any, make_rejects: Any) -> None:
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    store.ensure_schema()
    store.put_events(make_events([f"id-{n}" for n in range(10)]))
    frames = store.read_events([PositionRange(TOPIC, 0, 0, 10)], chunk=3)
    assert next(frames).height == 3
    store.put_quarantine(make_rejects(1))
    assert store.quarantine(QuarantineFilter()).height == 1
    assert sum(frame.height for frame in frames) == 7
