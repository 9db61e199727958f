"""Archiving: exactly what is missing, nothing twice, whoever runs at the same time and whenever one is killed."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.archive_index import archived_ranges, scope_between
from assets.partitions import HOUR, hour_start
from assets.positions import total
from assets.raw_events.process import Stores, archive_hour
from assets.raw_events.ranges import NotConsumedError, hour_ranges
from resources.raw_store.base import PositionRange


def positions(stores: Stores, hour: datetime) -> list[tuple[Any, ...]]:
    parts = stores.archive.parts(hour)
    return stores.archive.read(parts).select("log_topic", "log_partition", "log_offset").collect().sort(pl.all()).rows()


def test_given_ranges_then_the_rest_then_nothing(stores: Stores, two_hours: pl.DataFrame) -> None:
    hour = hour_start(two_hours["event_time"].min())  # type: ignore[arg-type] # a datetime: the column has no nulls
    now = hour + timedelta(minutes=59, seconds=50)
    whole = hour_ranges(stores.log, hour)
    first = [where._replace(end=where.start + 3) for where in whole]
    done = archive_hour(stores, hour, now, first)
    assert done.archived.rows == total(first)
    assert done.archived.ranges == first
    rest = archive_hour(stores, hour, now)
    assert rest.archived.ranges == whole
    assert not rest.closed
    assert archive_hour(stores, hour, now).archived.written == ()

    closed = archive_hour(stores, hour, hour + 2 * HOUR)
    assert closed.closed
    assert len(closed.archived.parts) == 1
    assert archive_hour(stores, hour, hour + 2 * HOUR).archived.written == ()
    assert (
        positions(stores, hour)
        == two_hours.filter(pl.col("event_time") < hour + HOUR)
        .select("log_topic", "log_partition", "log_offset")
        .sort(pl.all())
        .rows()
    )


def test_ranges_of_another_hour_are_refused(stores: Stores, two_hours: pl.DataFrame) -> None:
    hour = hour_start(two_hours["event_time"].min())  # type: ignore[arg-type] # a datetime: the column has no nulls
    later = hour_ranges(stores.log, hour + HOUR)
    with pytest.raises(ValueError, match=r"is not within the ingest hour 2026-03-04 10:00 UTC, which holds"):
        archive_hour(stores, hour, hour + 2 * HOUR, later)


def test_it_waits_for_the_raw_group_and_says_who_is_behind(platform: Any, stores: Stores) -> None:
    platform.log.append("content-events", [b"k"], [b"{}"])
    now = datetime.now(UTC)
    with pytest.raises(NotConsumedError, match=r"'raw' has not read 1 messages after .* content-events/\d from 0 to 1"):
        archive_hour(stores, hour_start(now), now, wait_seconds=0.2)


def test_two_runs_at_once_leave_every_row_once(stores: Stores, two_hours: pl.DataFrame) -> None:
    hour = hour_start(two_hours["event_time"].min())  # type: ignore[arg-type] # a datetime: the column has no nulls
    errors: list[BaseException] = []

    def work() -> None:
        try:
            archive_hour(stores, hour, hour + 2 * HOUR)
        except BaseException as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    expected = two_hours.filter(pl.col("event_time") < hour + HOUR)
    assert len(positions(stores, hour)) == expected.height
    archive_hour(stores, hour, hour + 2 * HOUR)
    held = scope_between(stores.clickhouse, hour, hour + HOUR)
    assert held.height == 2
    assert total(archived_ranges(stores.clickhouse)) == expected.height


def test_a_row_that_comes_back_enters_the_archive_and_one_that_is_lost_stays_in_it(
    platform: Any, stores: Stores, two_hours: pl.DataFrame
) -> None:
    hour = hour_start(two_hours["event_time"].min())  # type: ignore[arg-type] # a datetime: the column has no nulls
    mine = two_hours.filter(pl.col("event_time") < hour + HOUR)
    lost = mine.row(5, named=True)
    with sqlite3.connect(platform.home / "raw_store.db") as database:
        database.execute("DELETE FROM events WHERE event_id = ?", [lost["event_id"]])
    first = archive_hour(stores, hour, hour + 2 * HOUR)
    assert first.archived.rows == mine.height - 1
    place = PositionRange(lost["log_topic"], lost["log_partition"], 0, 1)
    account = first.account.filter((pl.col("topic") == place.log_topic) & (pl.col("partition") == place.log_partition))
    assert account["missing"].to_list() == [1]
    assert account["holes"].to_list() == [str(lost["log_offset"])]

    stores.raw_store.put_events(mine)
    healed = archive_hour(stores, hour, hour + 2 * HOUR)
    assert healed.archived.rows == mine.height
    assert healed.account["missing"].sum() == 0

    with sqlite3.connect(platform.home / "raw_store.db") as database:
        database.execute("DELETE FROM events WHERE event_id = ?", [lost["event_id"]])
    kept = archive_hour(stores, hour, hour + 2 * HOUR)
    assert kept.archived.rows == mine.height, "what the archive has is never written away"
