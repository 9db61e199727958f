"""What an audit reads of a raw store and what a repair may take out of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from resources.raw_store import PositionRange, RawStore, open_raw_store

WHOLE = [PositionRange("content-events", 0, 0, 100)]
POSITION = ["log_topic", "log_partition", "log_offset"]


def test_every_verdict_can_be_read_by_position(store: RawStore, make_events: Any, make_rejects: Any) -> None:
    events = make_events(["a", "b", "a", "c"])
    rejects = make_rejects(2, start=10, topic="content-events")
    store.put_events(events)
    store.put_quarantine(rejects)
    duplicates = store.read_duplicates(WHOLE)
    assert duplicates.select(*POSITION, "workspace", "event_id", "receipt_id").rows() == [
        ("content-events", 0, 2, "acme", "a", "receipt-1")
    ]
    assert_frame_equal(store.read_refused(WHOLE).sort(POSITION), rejects, check_column_order=False)
    assert store.read_duplicates([PositionRange("content-events", 0, 3, 9)]).is_empty()
    assert store.read_refused([PositionRange("content-events", 0, 0, 10)]).is_empty()


def test_an_identity_is_found_where_it_is_stored(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a", "b", "a"], start=5))
    asked = pl.DataFrame({"workspace": ["acme", "acme", "other"], "event_id": ["a", "nobody", "b"]})
    assert store.positions_of(asked).rows() == [("acme", "a", "content-events", 0, 5)]


def test_forgotten_positions_have_no_verdict_and_can_be_written_again(
    store: RawStore, make_events: Any, make_rejects: Any
) -> None:
    events, rejects = make_events(["a", "b", "a"]), make_rejects(1, start=3, topic="content-events")
    store.put_events(events)
    store.put_quarantine(rejects)
    positions = pl.concat([events.select(POSITION), rejects.select(POSITION)]).filter(pl.col("log_offset") > 0)
    assert store.forget(positions) == 3
    assert store.missing_offsets(WHOLE[0]._replace(end=4)) == [1, 2, 3]
    store.put_events(events)
    store.put_quarantine(rejects)
    assert tuple(store.verdicts(WHOLE)[WHOLE[0]]) == (2, 1, 1)


def test_a_long_text_is_forgotten_with_its_row(store: RawStore, make_events: Any) -> None:
    long = make_events(["a"], raw="x" * 2_000_000)
    store.put_events(long)
    assert store.forget(long.select(POSITION)) == 1
    store.put_events(make_events(["a"], raw="y" * 2_000_000))
    (read,) = store.read_events(WHOLE)
    assert read["raw"][0] == "y" * 2_000_000


def test_a_value_of_another_type_put_there_by_hand_is_read_as_null(tmp_path: Path, make_events: Any) -> None:
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    store.ensure_schema()
    store.put_events(make_events(["a", "b"]))
    with sqlite3.connect(tmp_path / "raw.db") as database:
        database.execute("UPDATE events SET schema_version = 'two', topics = 'no list' WHERE event_id = 'b'")
    database.close()
    (read,) = store.read_events(WHOLE)
    assert read["schema_version"].to_list() == [2, None]
    assert read["topics"].to_list() == [[], None]
    store.close()
