"""Frames into and out of ClickHouse: one frame, one block, one token."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from polars.testing import assert_frame_equal

from contracts.envelope import STORED_SCHEMA
from resources.clickhouse import insert_frame, query_frame

START = datetime(2026, 1, 1, 23, 50, tzinfo=UTC)
COLUMNS = [name for name in STORED_SCHEMA if name != "raw"]


def events(count: int, *, offset: int = 0, actors: int = 40) -> pl.DataFrame:
    """`count` events over twenty minutes around midnight, at ascending offsets."""
    n = pl.col("log_offset")
    moment = pl.lit(START) + pl.duration(milliseconds=1_200_000 * (n % count) // count)
    values = {
        "workspace": pl.lit("demo"),
        "event_id": pl.concat_str(pl.lit("00000000-0000-0000-0000-"), n.cast(pl.String).str.zfill(12)),
        "type": pl.when(n % 2 == 0).then(pl.lit("post.created")).otherwise(pl.lit("reaction.added")),
        "network": pl.when(n % 3 == 0).then(pl.lit("app")).otherwise(pl.lit("wikipedia")),
        "actor": pl.format("actor-{}", n * n % actors),
        "object": pl.when(n % 5 > 0).then(pl.format("object-{}", n % 7)).otherwise(pl.lit("")),
        "campaign": pl.when(n % 4 == 0).then(pl.lit("spring")).otherwise(pl.lit("")),
        "topics": pl.lit("ü,b").str.split(",").list.head(n % 3),
        "properties": pl.lit("{}"),
        "occurred_at": moment,
        "received_at": moment,
        "event_time": moment,
        "time_flag": pl.lit("ok"),
        "sdk": pl.lit("test"),
        "schema_version": pl.lit(2),
        "receipt_id": pl.lit("r"),
        "raw": pl.lit("{}"),
        "log_topic": pl.lit("content-events"),
        "log_partition": pl.lit(0),
        "log_offset": n,
    }
    if not count:
        return pl.DataFrame(schema=STORED_SCHEMA)
    numbers = pl.DataFrame({"log_offset": pl.int_range(offset, offset + count, eager=True)})
    return numbers.select(**values).cast(dict(STORED_SCHEMA))


def test_a_frame_comes_back_as_it_went_in(clickhouse: Client) -> None:
    frame = events(500).select(COLUMNS)
    assert insert_frame(clickhouse, "events", frame) == 500
    columns = ", ".join("toString(event_id) AS event_id" if name == "event_id" else name for name in COLUMNS)
    back = query_frame(clickhouse, f"SELECT {columns} FROM events ORDER BY log_offset")
    assert_frame_equal(back.cast(dict(frame.schema)), frame)
    assert back.schema["event_time"] == pl.Datetime("ms", "UTC")


def test_columns_may_be_chosen_and_parameters_typed(clickhouse: Client) -> None:
    insert_frame(clickhouse, "events", events(10), columns=COLUMNS)
    sql = "SELECT count() AS n FROM events WHERE event_time >= {from:DateTime64(3)} AND type IN {types:Array(String)}"
    found = query_frame(clickhouse, sql, {"from": START, "types": ["post.created", "it's"]})
    assert found.to_dicts() == [{"n": 5}]


def test_an_empty_frame_and_an_empty_answer(clickhouse: Client) -> None:
    assert insert_frame(clickhouse, "events", events(0).select(COLUMNS), token="t") == 0
    empty = query_frame(clickhouse, "SELECT network, event_time FROM events")
    assert (empty.height, empty.columns) == (0, ["network", "event_time"])


def test_a_large_frame_is_one_block_so_that_its_token_covers_all_of_it(clickhouse: Client) -> None:
    frame = pl.concat([events(35_000), events(35_000, offset=35_000)], rechunk=False).select(COLUMNS)
    totals = []
    for _ in range(2):
        insert_frame(clickhouse, "events", frame, token="content-events/0:0-70000")
        sql = "SELECT (SELECT count() FROM events), (SELECT sum(events) FROM {t:Identifier} WHERE dimension = 'all')"
        totals += [
            clickhouse.query(sql, parameters={"t": f"live_engagement_{grain}"}).first_row
            for grain in ("minute", "hour")
        ]
        totals.append(clickhouse.query("SELECT count(), count() FROM event_positions").first_row)
    assert totals == [(70_000, 70_000)] * 6


def test_without_a_token_equal_frames_are_both_kept(clickhouse: Client) -> None:
    for _ in range(2):
        insert_frame(clickhouse, "events", events(10).select(COLUMNS))
    assert clickhouse.command("SELECT count() FROM events") == 20


def test_live_rollups_equal_a_plain_count(clickhouse: Client) -> None:
    frame = pl.concat([events(2000), events(2000, offset=2000, actors=33)])
    for part in frame.iter_slices(700):
        insert_frame(clickhouse, "events", part.select(COLUMNS), token=str(part["log_offset"][0]))
    member = pl.concat_list(
        pl.lit("all:"),
        pl.when(pl.col("object") != "").then(pl.concat_str(pl.lit("object:"), "object")),
        pl.when(pl.col("campaign") != "").then(pl.concat_str(pl.lit("campaign:"), "campaign")),
        pl.col("topics").list.eval(pl.lit("topic:") + pl.element()),
    )
    for table, every in (("live_engagement_minute", "1m"), ("live_engagement_hour", "1h")):
        expected = (
            frame.with_columns(member=member.list.drop_nulls(), bucket=pl.col("event_time").dt.truncate(every))
            .explode("member")
            .group_by("bucket", "network", "type", "member")
            .agg(events=pl.len().cast(pl.UInt64), actors=pl.col("actor").n_unique().cast(pl.UInt64))
        )
        found = query_frame(
            clickhouse,
            "SELECT toDateTime64(bucket, 3, 'UTC') AS bucket, network, type, concat(dimension, ':', member) AS member, "
            "sum(events) AS events, "
            "uniqExactMerge(actors) AS actors FROM {t:Identifier} GROUP BY ALL",
            {"t": table},
        )
        assert_frame_equal(found, expected, check_row_order=False)


def test_a_wrong_column_is_named(clickhouse: Client) -> None:
    with pytest.raises(ClickHouseError, match="no_such_column"):
        insert_frame(clickhouse, "events", events(1).select(COLUMNS).with_columns(no_such_column=pl.lit(1)))
