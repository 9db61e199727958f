"""Hourly counts, uniques and top objects of real rows equal a separate polars computation, live and sealed.

And loading a file twice changes nothing but `duplicate`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

ROLLUPS = ("all", "object", "campaign", "topic")


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle = _sibling("oracle")


@dataclass(frozen=True)
class DataSet:
    network: str
    files: tuple[str, ...]
    rows: int
    events: Callable[[list[Path]], pl.DataFrame]


IRA = ("Aldrich420", "AmandaVGreen", "FrankfurtBote", "acejinev", "aniiAntrs", "boeing_is_back", "coldwar20_ru")
DATA_SETS = [
    DataSet("wikipedia", ("wikipedia_edits.json.gz",), 39_244, lambda p: oracle.wikipedia(p[0])),
    DataSet("ira_tweets", tuple(f"ira_tweets/{name}.csv" for name in IRA), 31_586, oracle.ira_tweets),
    DataSet("emoji_tweets", ("mayweather_mcgregor_tweets.csv",), 12_118, lambda p: oracle.emoji_tweets(p[0])),
    DataSet("higgs", ("higgs_activity_head.txt.gz",), 20_000, lambda p: oracle.higgs(p[0])),
    DataSet("globo", ("globo_clicks_hour.csv",), 0, lambda p: oracle.globo(p[0])),
    DataSet("talkingdata", ("talkingdata_clicks_head.csv",), 5_000, lambda p: oracle.talkingdata(p[0])),
]


@pytest.mark.parametrize("data", DATA_SETS, ids=lambda data: data.network)
def test_real_rows_give_the_numbers_that_polars_gives(
    data: DataSet, spine: Any, real_file: Callable[[str], Path]
) -> None:
    paths = [real_file(name) for name in data.files]
    expected = data.events(paths)

    account, receipt = spine.load(paths, data.network)
    assert account.read == data.rows or not data.rows
    assert not account.quarantined
    assert account.events == receipt["stored"] + receipt["duplicate"]
    assert receipt["stored"] == expected.height

    tables = {dimension: oracle.rollup(expected, dimension) for dimension in ROLLUPS}
    assert tables["all"].height
    for dimension, table in tables.items():
        _equal(spine.rollup("live_engagement_hour", dimension), table)

    start, end = expected["time"].min(), expected["time"].max()
    spine.seal(start.replace(minute=0, second=0), end + timedelta(hours=1))
    for dimension, table in tables.items():
        _equal(spine.rollup("engagement_hourly", dimension), table)

    total = spine.ask("events", start=start, end=end + timedelta(milliseconds=1), grain="total")
    assert total["value"].to_list() == [expected.height]
    actors = spine.ask("active_actors", start=start, end=end + timedelta(milliseconds=1), grain="total")
    assert actors["value"].to_list() == [expected["actor"].n_unique()]

    again, second = spine.load(paths, data.network)
    assert (second["stored"], second["duplicate"]) == (0, again.events)
    for dimension, table in tables.items():
        _equal(spine.rollup("live_engagement_hour", dimension), table)
    spine.seal(start.replace(minute=0, second=0), end + timedelta(hours=1))
    for dimension, table in tables.items():
        _equal(spine.rollup("engagement_hourly", dimension), table)


def _equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    types = {"bucket": pl.Datetime("ms", "UTC"), "events": pl.UInt64, "actors": pl.UInt64}
    order = ["bucket", "type", "member"]
    text = pl.col("type", "member").cast(pl.String)
    assert_frame_equal(
        found.with_columns(text).cast(types).sort(order), expected.with_columns(text).cast(types).sort(order)
    )
