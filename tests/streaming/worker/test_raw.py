"""Group raw: every message of the log gets its one verdict in the raw store."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest

from contracts.event_types import QUARANTINE
from resources.event_log.base import OffsetRange
from resources.raw_store.base import QuarantineFilter, RawStoreUnavailableError
from resources.raw_store.sqlite import SqliteRawStore
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker
from streaming.worker.stats import read_stats


def test_accepted_is_stored_plus_duplicate_plus_quarantined(send, row, work, verdicts, whole_log):
    same = row()
    send([same, row(), b"broken"])
    send([same, row(type="ad.clicked"), row(actor=None)])
    work("raw")
    assert verdicts() == (3, 1, 2)
    assert sum(place.end - place.start for place in whole_log()) == 6


def test_messages_that_are_not_ours_go_to_quarantine_with_their_place(event_log, send, row, work, raw_store):
    send([row()])
    event_log.append("user-events", [b"k"] * 4, [b"\xff\xfe", None, b'{"x":1}', b"[]"])
    event_log.append(QUARANTINE, [b"k"], [b"not a reject"])
    work("raw")
    rejects = raw_store.quarantine(QuarantineFilter())
    assert rejects.height == 5
    assert set(rejects["reason"]) >= {"invalid_utf8", "tombstone", "foreign_message"}
    for topic, partition, offset, place in rejects.select(
        "log_topic", "log_partition", "log_offset", "place"
    ).iter_rows():
        assert place == f"{topic}/{partition}@{offset}"


def test_an_event_whose_id_is_no_uuid_is_not_ours(event_log, send, row, work, raw_store):
    """ClickHouse keeps ids as UUIDs: both groups must refuse such a message alike."""
    send([row(type="user.signed_in")])
    (stored,) = [v for chunk in event_log.read(_all(event_log, "user-events")) for v in chunk.values]
    forged = {**json.loads(stored), "event_id": "'); DROP TABLE events; --"}
    event_log.append("user-events", [b"k"], [json.dumps(forged).encode()])
    work("raw")
    (reason,) = raw_store.quarantine(QuarantineFilter())["reason"]
    assert reason == "invalid_id"


def _all(event_log, topic):
    return [OffsetRange(topic, partition, *bounds) for partition, bounds in event_log.watermarks(topic).items()]


def test_reading_everything_again_changes_nothing(send, row, work, verdicts, rewind):
    send([row(), b"broken", row()])
    work("raw")
    before = verdicts()
    rewind("raw")
    work("raw")
    assert verdicts() == before == (2, 0, 1)


def test_a_store_that_is_down_is_waited_for(
    send, row, config_of, worker, verdicts, eventually, monkeypatch, caplog, tmp_path
):
    """Nothing is lost, the log says once which store is missing, and the stats file shows it meanwhile."""
    down = [True]
    write = SqliteRawStore.put_events

    def put_events(self, events):
        if down[0]:
            raise RawStoreUnavailableError(f"{self.url}: disk is full")
        return write(self, events)

    monkeypatch.setattr(SqliteRawStore, "put_events", put_events)
    caplog.set_level(logging.WARNING)
    config = config_of("raw")
    with worker(config):
        send([row() for _ in range(10)])
        eventually(lambda: (read_stats(config.stats_path) or {}).get("state") == "waiting")
        assert "disk is full" in read_stats(config.stats_path)["problem"]
        time.sleep(0.4)
        down[0] = False
        eventually(lambda: (read_stats(config.stats_path) or {}).get("stored") == 10)
        eventually(lambda: read_stats(config.stats_path)["problem"] == "")
    assert verdicts() == (10, 0, 0)
    complaints = [record.message for record in caplog.records if "disk is full" in record.message]
    assert len(complaints) == 1
    assert str(tmp_path) in complaints[0]


def test_a_stop_while_the_store_is_down_comes_within_seconds_and_loses_nothing(
    send, row, config_of, worker, verdicts, work, eventually, monkeypatch
):
    def put_events(self, events):
        raise RawStoreUnavailableError(f"{self.url}: gone")

    config = config_of("raw")
    with monkeypatch.context() as patch:
        patch.setattr(SqliteRawStore, "put_events", put_events)
        with worker(config) as stop:
            send([row() for _ in range(3)])
            eventually(lambda: (read_stats(config.stats_path) or {}).get("state") == "waiting")
            started = time.monotonic()
            stop.set()
        assert time.monotonic() - started < 30
    work("raw")
    assert verdicts() == (3, 0, 0)


def test_stats_tell_lag_rates_and_watermark(send, row, config_of, worker, eventually):
    config = config_of("raw")
    send([row(occurred_at="2026-03-01T10:00:00Z"), row(occurred_at="2026-03-01T11:00:00Z")])
    with worker(config):
        eventually(lambda: (read_stats(config.stats_path) or {}).get("messages") == 2)
        eventually(lambda: read_stats(config.stats_path)["watermark_ms"] is not None)
        stats = read_stats(config.stats_path)
    assert (stats["group"], stats["state"], stats["stored"], stats["lag_messages"]) == ("raw", "running", 2, 0)
    assert stats["last_batch"]["rows"] in (1, 2)
    assert read_stats(config.stats_path)["state"] == "stopped"


def test_two_workers_share_the_partitions(send, row, config_of, worker, verdicts, eventually, tmp_path):
    first, second = (config_of("raw", stats_path=tmp_path / f"{name}.json") for name in "ab")
    with worker(first), worker(second):
        for number in range(15):
            send([row(actor=f"{number}-{item}", type=item) for item in ("ad.clicked", "user.signed_in") * 20])
            time.sleep(0.02)
        eventually(lambda: verdicts() == (600, 0, 0))
    assert all(read_stats(config.stats_path)["stored"] > 0 for config in (first, second))


def test_a_group_without_its_store_says_so(log_url):
    with pytest.raises(ValueError, match="needs raw_store_url"):
        run_worker(WorkerConfig("raw", log_url), threading.Event())
