"""A worker may be killed between any two steps: the tables come out as if it had not been."""

from __future__ import annotations

import signal
import sqlite3
import time

import pytest

from contracts.event_types import TOPICS
from resources.event_log.base import Commit
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange
from streaming.sources.files import wait_until_processed
from streaming.worker.stats import read_stats

LIVE_POINTS = [
    "worker.after_announce",
    "live.after_events",
    "live.after_rejects",
    "worker.after_write",
    "worker.before_recovery_commit",
    "worker.before_commit",
    "worker.after_commit",
]
RAW_POINTS = ["raw.after_events", "raw.after_quarantine", "worker.after_write", "worker.before_commit"]


@pytest.fixture
def finish(start_worker, event_log, whole_log):
    """Let a worker that is not killed do the rest, and end it with SIGTERM."""

    def run(group, clickhouse_url=""):
        process = start_worker(group, clickhouse_url)
        assert wait_until_processed(event_log, [group], whole_log(), timeout=90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    return run


def live_account(clickhouse):
    def one(sql):
        return clickhouse.query(sql).result_rows[0]

    rejects = dict(
        clickhouse.query("SELECT toString(verdict), count() FROM live_rejects FINAL GROUP BY verdict").result_rows
    )
    (stored,) = one("SELECT count() FROM events")
    return (stored, rejects.get("duplicate", 0), rejects.get("quarantined", 0))


def assert_views_agree(clickhouse, source):
    """Every aggregate equals what was sent, not only what `events` holds."""

    def one(sql):
        return clickhouse.query(sql).result_rows[0]

    stored = len(source.ids)
    assert one("SELECT count(), uniqExact(event_id) FROM events") == (stored, stored)
    assert one("SELECT count() FROM event_positions") == (stored,)
    assert one("SELECT sum(events) FROM live_progress") == (stored,)
    for table in ("live_engagement_minute", "live_engagement_hour"):
        for dimension in ("all", "object", "topic"):
            assert one(f"SELECT sum(events), uniqExactMerge(actors) FROM {table} WHERE dimension = '{dimension}'") == (
                stored,
                len(source.actors),
            ), (table, dimension)


def test_live_worker_killed_at_every_step(start_worker, killed, finish, source, clickhouse, clickhouse_url, tmp_path):
    """Each life is ended at another step and the next one finds what it left; more rows come in between."""
    for point in LIVE_POINTS:
        source.send(40)
        killed(start_worker("live", clickhouse_url, crash_at=point))
    source.send(40)
    finish("live", clickhouse_url)
    assert live_account(clickhouse) == source.expected
    assert_views_agree(clickhouse, source)
    assert read_stats(tmp_path / "live.json")["state"] == "stopped"


def test_killed_while_a_block_is_half_written(
    start_worker, finish, source, clickhouse, clickhouse_url, tmp_path, eventually
):
    """The table has the rows, a view has not, and the worker dies: its successor completes the view, and only that."""
    source.send(40)
    finish("live", clickhouse_url)
    clickhouse.command("ALTER TABLE live_progress ADD CONSTRAINT broken CHECK events > 1000000")
    source.send(40)
    process = start_worker("live", clickhouse_url)
    eventually(lambda: (read_stats(tmp_path / "live.json") or {}).get("state") == "waiting")
    process.kill()
    process.wait()
    clickhouse.command("ALTER TABLE live_progress DROP CONSTRAINT broken")
    source.send(40)
    finish("live", clickhouse_url)
    assert live_account(clickhouse) == source.expected
    assert_views_agree(clickhouse, source)


def test_killed_while_everything_is_read_again(
    start_worker, killed, finish, source, event_log, clickhouse, clickhouse_url
):
    """A group set back to the beginning meets rows it has stored; dying then must not store them a second time."""
    source.send(40)
    finish("live", clickhouse_url)
    consumer = event_log.consumer("live", TOPICS)
    while not consumer.assignment():
        consumer.poll(1, 0.1)
    consumer.commit({place: Commit(0) for place in consumer.assignment()})
    consumer.close()
    source.send(40)
    killed(start_worker("live", clickhouse_url, crash_at="worker.after_announce"))
    finish("live", clickhouse_url)
    assert live_account(clickhouse) == source.expected
    assert_views_agree(clickhouse, source)


def test_raw_worker_killed_at_every_step(start_worker, killed, finish, source, whole_log, tmp_path):
    for point in RAW_POINTS:
        source.send(40)
        killed(start_worker("raw", crash_at=point))
    source.send(40)
    finish("raw")
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    counts = store.verdicts([PositionRange(*place) for place in whole_log()])
    assert tuple(sum(column) for column in zip(*counts.values(), strict=True)) == source.expected
    for place, verdict in counts.items():
        assert verdict.total == place.end - place.start
        assert store.missing_offsets(place) == []
    store.close()


def test_one_planted_missing_row_is_found(finish, source, whole_log, clickhouse, clickhouse_url, tmp_path):
    """The account is a query over positions: take one row away, and its place is named."""
    source.send(60)
    finish("raw")
    finish("live", clickhouse_url)
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    assert all(store.missing_offsets(PositionRange(*place)) == [] for place in whole_log())
    assert live_holes(clickhouse, whole_log()) == set()

    topic, partition, offset = clickhouse.query(
        "SELECT log_topic, log_partition, log_offset FROM events ORDER BY event_id LIMIT 1"
    ).result_rows[0]
    clickhouse.command(
        f"DELETE FROM events WHERE log_topic = '{topic}' AND log_partition = {partition} AND log_offset = {offset}"
    )
    assert live_holes(clickhouse, whole_log()) == {(topic, partition, offset)}

    with sqlite3.connect(tmp_path / "raw.db") as database:
        database.execute(
            "DELETE FROM events WHERE log_topic = ? AND log_partition = ? AND log_offset = ?",
            (topic, partition, offset),
        )
    holes = {
        (place.topic, place.partition, missing)
        for place in whole_log()
        for missing in store.missing_offsets(PositionRange(*place))
    }
    assert holes == {(topic, partition, offset)}
    store.close()


def live_holes(clickhouse, ranges):
    """Positions of the log for which ClickHouse has no verdict."""
    known = set(
        clickhouse.query(
            "SELECT log_topic, log_partition, log_offset FROM events UNION ALL"
            " SELECT log_topic, log_partition, log_offset FROM live_rejects"
        ).result_rows
    )
    everything = {(r.topic, r.partition, offset) for r in ranges for offset in range(r.start, r.end)}
    assert known <= everything
    return everything - known


def test_a_paused_worker_that_lost_its_partitions_writes_nothing_twice(
    start_worker, finish, source, event_log, whole_log, clickhouse, clickhouse_url
):
    """A zombie: stopped in the middle, replaced, and woken again while its successor works."""
    zombie = start_worker("live", clickhouse_url, member_id="zombie", max_batch_rows=30)
    for _ in range(6):
        source.send(40)
        time.sleep(0.3)
    zombie.send_signal(signal.SIGSTOP)
    source.send(40)
    successor = start_worker("live", clickhouse_url, member_id="successor", max_batch_rows=30)
    assert wait_until_processed(event_log, ["live"], whole_log(), timeout=90)
    zombie.send_signal(signal.SIGCONT)
    source.send(40)
    assert wait_until_processed(event_log, ["live"], whole_log(), timeout=90)
    for process in (zombie, successor):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert live_account(clickhouse) == source.expected
    assert_views_agree(clickhouse, source)
