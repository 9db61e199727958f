"""Group live: new events in ClickHouse once, with their views; every other verdict in live_rejects."""

from __future__ import annotations

import json

import pytest

from resources.raw_store.base import PositionRange
from streaming.worker.stats import read_stats


@pytest.fixture
def count(clickhouse):
    def query(sql):
        return clickhouse.query(sql).result_rows

    return query


def account(count):
    """(stored, duplicate, quarantined) by position, and the number of rows the minute view counted."""
    ((stored,),) = count("SELECT count() FROM events")
    rejects = dict(count("SELECT toString(verdict), count() FROM live_rejects FINAL GROUP BY verdict"))
    ((viewed,),) = count("SELECT sum(events) FROM live_engagement_minute WHERE dimension = 'all'")
    return (stored, rejects.get("duplicate", 0), rejects.get("quarantined", 0)), viewed


def test_every_message_has_one_verdict_and_views_count_each_event_once(send, row, work, clickhouse_url, count):
    same = row()
    send([same, row(), b"broken"])
    work("live", clickhouse_url)
    send([same, row(type="ad.clicked"), row(event_id="nonsense")])
    send([same], workspace="other")
    work("live", clickhouse_url)
    assert account(count) == ((4, 1, 2), 4)
    assert count("SELECT uniqExact(workspace, event_id) FROM events") == [(4,)]


def test_what_was_sent_is_what_is_read(send, row, work, clickhouse_url, count):
    sent = row(
        actor="ада \u0000 \U0001f600",
        object="",
        campaign="spring",
        topics=["#Ünïcode", "b"],
        properties={"a": [1, {"b": None}]},
        occurred_at="2026-03-01T23:59:59.999Z",
    )
    receipt = send([sent]).receipt_id
    work("live", clickhouse_url)
    ((actor, obj, campaign, topics, properties, at, receipt_read),) = count(
        "SELECT actor, object, campaign, topics, properties, toUnixTimestamp64Milli(event_time), receipt_id FROM events"
    )
    assert (actor, obj, campaign, sorted(topics)) == (sent["actor"], "", "spring", ["b", "ünïcode"])
    assert json.loads(properties) == sent["properties"]
    assert (at, receipt_read) == (1772409599999, receipt)


def test_an_operator_may_have_everything_read_again(send, row, work, rewind, clickhouse_url, count, tmp_path):
    same = row()
    send([same, row(), b"broken", same])
    work("live", clickhouse_url)
    before = account(count)
    rewind("live")
    work("live", clickhouse_url)
    assert account(count) == before == ((2, 1, 1), 2)
    assert read_stats(tmp_path / "live.json")["seen_again"] == 2


def test_many_months_in_one_batch(send, row, work, clickhouse_url, count):
    """A batch is one insert, whatever the spread of its times: partitions of the table do not limit it."""
    send([row(occurred_at=f"{year}-{month:02}-15T00:00:00Z") for year in range(2000, 2009) for month in range(1, 13)])
    work("live", clickhouse_url)
    assert account(count) == ((108, 0, 0), 108)


def test_a_row_the_engine_refuses_is_set_aside_alone(send, row, work, clickhouse_url, clickhouse, count):
    clickhouse.command("ALTER TABLE events ADD CONSTRAINT no_poison CHECK actor != 'poison'")
    send([row(actor="poison" if number == 137 else f"u{number}") for number in range(300)])
    work("live", clickhouse_url)
    assert account(count) == ((299, 0, 1), 299)
    assert count("SELECT reason FROM live_rejects") == [("store_refused",)]
    assert count("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%probe%'") == []


def test_a_view_that_fails_is_waited_for_and_completed(
    send, row, config_of, worker, clickhouse_url, clickhouse, count, eventually
):
    """The rows are not to blame, and what the table took before its view failed is not written twice."""
    clickhouse.command("ALTER TABLE live_progress ADD CONSTRAINT broken CHECK events > 1000000")
    config = config_of("live", clickhouse_url)
    send([row(actor=f"u{number}") for number in range(50)])
    with worker(config):
        eventually(lambda: (read_stats(config.stats_path) or {}).get("state") == "waiting")
        clickhouse.command("ALTER TABLE live_progress DROP CONSTRAINT broken")
        eventually(lambda: count("SELECT sum(events) FROM live_progress") == [(50,)])
    assert account(count) == ((50, 0, 0), 50)
    assert count("SELECT count() FROM event_positions") == [(50,)]


def test_tables_that_are_not_there_yet_are_waited_for(
    send, row, config_of, worker, clickhouse_url, clickhouse, count, eventually
):
    clickhouse.command("RENAME TABLE event_positions TO not_yet")
    config = config_of("live", clickhouse_url)
    send([row() for _ in range(5)])
    with worker(config):
        eventually(lambda: (read_stats(config.stats_path) or {}).get("state") == "waiting")
        assert "event_positions" in read_stats(config.stats_path)["problem"]
        clickhouse.command("RENAME TABLE not_yet TO event_positions")
        eventually(lambda: account(count) == ((5, 0, 0), 5))


def test_a_batch_in_several_partitions_is_one_insert(send, row, work, clickhouse_url, count, event_log, tmp_path):
    send([row(actor=f"u{n}", object=f"p{n}", type=t) for n in range(50) for t in ("ad.clicked", "content.viewed")])
    work("live", clickhouse_url, linger=0.3)
    assert read_stats(tmp_path / "live.json")["last_batch"]["partitions"] == 4
    assert count(
        "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'events'"
    ) == [(1,)]


def test_the_raw_store_and_clickhouse_agree_position_by_position(
    send, row, work, clickhouse_url, count, verdicts, raw_store
):
    same = row()
    for _ in range(3):
        send([same, *(row(actor=f"u{n}") for n in range(20)), b"[]", row(type="x")])
    work("raw")
    work("live", clickhouse_url)
    assert account(count)[0] == verdicts() == (61, 2, 6)
    live = set(count("SELECT log_topic, log_partition, log_offset FROM events"))
    ranges = count("SELECT log_topic, log_partition, min(log_offset), max(log_offset) + 1 FROM events GROUP BY ALL")
    raw = {
        place
        for frame in raw_store.read_events([PositionRange(*values) for values in ranges])
        for place in frame.select("log_topic", "log_partition", "log_offset").iter_rows()
    }
    assert live == raw
