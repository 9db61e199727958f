"""Fifty-odd texts, tags, links and objects, and the topics they are: from the text through the fold to the panes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from contracts.event_types import EVENT_TYPES
from contracts.hashtags import hashtags_in
from contracts.trend_boards import MENTION_TYPES
from resources.clickhouse import insert_frame, query_frame
from resources.clickhouse.sql import render

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("topic_cases.json").read_text())
AT = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
"""Recent, because panes are kept for days only."""


def events(make_events: Any, cases: list[dict[str, Any]]) -> pl.DataFrame:
    """An event per case (object `case-n` unless the case names one), received when it happened."""
    base = make_events(3, len(cases), AT, AT + timedelta(hours=1))
    tags = pl.DataFrame({"t": [case.get("text") for case in cases]}, schema={"t": pl.String}).select(hashtags_in("t"))
    properties = [{k: v for k, v in case.items() if k in {"text", "url", "link"}} for case in cases]
    return base.with_columns(
        type=pl.Series([case.get("type", "post.created") for case in cases]),
        object=pl.Series([case.get("object", "") for case in cases]),
        campaign=pl.Series([f"case-{number}" for number in range(len(cases))]),
        topics=tags.to_series(),
        properties=pl.Series([json.dumps(each, ensure_ascii=False) for each in properties]),
    ).drop("raw")


def test_each_case_is_its_topics(clickhouse: Client, make_events: Any) -> None:
    rows = events(make_events, CASES).with_columns(
        log_topic=pl.lit("content-events"), log_partition=pl.lit(0, pl.Int32),
        log_offset=pl.int_range(pl.len(), dtype=pl.Int64),
    )  # fmt: skip
    insert_frame(clickhouse, "events", rows)
    mentions = render("topic_mentions", source="events", types=MENTION_TYPES)
    found = query_frame(
        clickhouse,
        f"SELECT e.log_offset AS n, m.kind AS kind, m.topic AS topic FROM ({mentions}) AS m"
        " INNER JOIN events AS e USING (workspace, event_id) ORDER BY n, kind, topic",
    )
    for number, case in enumerate(CASES):
        topics = found.filter(n=number).select("kind", "topic").rows()
        expected = sorted((kind, topic) for kind, names in case["topics"].items() for topic in names)
        assert topics == expected, case["why"]
    panes = query_frame(clickhouse, "SELECT kind, topic, sum(events) AS n FROM live_topic_panes GROUP BY ALL")
    counted = found.group_by("kind", "topic").agg(n=pl.len().cast(pl.UInt64))
    assert panes.sort("kind", "topic").equals(counted.sort("kind", "topic"))


def test_a_hashtag_of_ten_thousand_characters_is_kept_with_its_event_and_on_no_board(
    clickhouse: Client, make_events: Any
) -> None:
    """From either side of writing: such a tag says nothing, and would be the largest row of every board."""
    tags = ["x" * 10_000, "ש" * 10_000]
    rows = events(make_events, [{"text": f"#news #{tag}"} for tag in tags]).with_columns(
        log_topic=pl.lit("content-events"), log_partition=pl.lit(0, pl.Int32), log_offset=pl.Series([1, 2]),
    )  # fmt: skip
    insert_frame(clickhouse, "events", rows)
    kept = query_frame(clickhouse, "SELECT arrayJoin(topics) AS topic FROM events ORDER BY topic")["topic"].to_list()
    assert kept == ["news", "news", *tags]
    assert clickhouse.query("SELECT topic, sum(events) FROM live_topic_panes GROUP BY topic").result_rows == [
        ("news", 2)
    ]


def test_types_that_mention_topics_exist() -> None:
    assert {name for names in MENTION_TYPES.values() for name in names} <= set(EVENT_TYPES)


def test_what_is_told_two_days_late_is_in_no_pane(clickhouse: Client, make_events: Any) -> None:
    late = events(make_events, [{"text": "#late"}, {"text": "#late"}]).with_columns(
        received_at=pl.Series([AT + timedelta(days=1), AT + timedelta(days=3)]).cast(pl.Datetime("ms", "UTC")),
        log_topic=pl.lit("content-events"), log_partition=pl.lit(0, pl.Int32), log_offset=pl.Series([1, 2]),
    )  # fmt: skip
    insert_frame(clickhouse, "events", late)
    assert clickhouse.query("SELECT sum(events) FROM live_topic_panes").result_rows == [(1,)]
