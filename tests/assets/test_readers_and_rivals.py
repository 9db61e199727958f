"""Readers during sealing, and several sealings of the same hours at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from assets.sealing import Sealed
from resources.clickhouse import open_clickhouse, query_frame

_VISIBLE = "SELECT sum(events) AS events FROM engagement_hourly WHERE dimension = 'all'"


def test_readers_see_the_old_number_or_the_new_one(
    platform: Any, make_events: Any, two_hours: pl.DataFrame, seal_all: Callable[..., Sealed]
) -> None:
    seal_all()
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        client = open_clickhouse(platform.clickhouse_url)
        while not stop.is_set():
            seen.add(int(query_frame(client, _VISIBLE)["events"][0]))
        client.close()

    reader = threading.Thread(target=read)
    reader.start()
    first = two_hours["event_time"].min()
    assert isinstance(first, datetime)
    late = make_events(9, 200, first, first + timedelta(hours=1, minutes=30), received_at=datetime.now(first.tzinfo))
    platform.send(late)
    for _ in range(2):
        assert seal_all(rebuild=True).failed == {}
    stop.set()
    reader.join()
    assert seen <= {two_hours.height, two_hours.height + 200}, "no number in between: all hours change at once"


def test_three_sealings_at_once_are_as_good_as_one(
    platform: Any, two_hours: pl.DataFrame, seal_all: Callable[..., Sealed], sealed_hours: Callable[..., pl.DataFrame]
) -> None:
    errors: list[object] = []

    def run() -> None:
        try:
            errors.extend(seal_all().failed.items())
        except Exception as error:
            errors.append(error)

    rivals = [threading.Thread(target=run) for _ in range(3)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert seal_all().failed == {}
    assert errors == []
    assert sealed_hours().filter(pl.col("dimension") == "all")["events"].sum() == two_hours.height
    restated = query_frame(platform.clickhouse, "SELECT count() AS n FROM restatements")
    assert restated["n"].to_list() == [0]
