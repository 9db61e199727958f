"""Answers that get lost on the way, requests that are cut short, a network that is slow: nobody knows what was done."""

from __future__ import annotations

import json
import threading
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from history import History, times
from lossy_proxy import LossyProxy

from contracts.event_types import TOPICS
from resources.event_log.base import OffsetRange
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange
from streaming.sources.files import wait_until_processed
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker


@pytest.fixture
def proxy(clickhouse_url):
    parts = urlsplit(clickhouse_url)
    lossy = LossyProxy(parts.hostname, parts.port, b"INSERT")
    yield lossy
    lossy.close()


def test_twenty_lost_answers_neither_lose_nor_double_a_row(
    proxy, source, event_log, whole_log, log_url, clickhouse, clickhouse_url
):
    database = urlsplit(clickhouse_url).path
    stop = threading.Event()
    url = f"http://127.0.0.1:{proxy.port}{database}"
    config = WorkerConfig("live", log_url, clickhouse_url=url, topic_partitions=2, linger=0.01)
    thread = threading.Thread(target=run_worker, args=(config, stop))
    thread.start()
    try:
        for _ in range(10):
            proxy.lose = 2
            source.send(20)
            assert wait_until_processed(event_log, ["live"], whole_log(), timeout=30)
            assert proxy.lose == 0
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()
    stored, duplicate, quarantined = source.expected
    assert clickhouse.query("SELECT count(), uniqExact(event_id) FROM events").result_rows == [(stored, stored)]
    assert clickhouse.query("SELECT sum(events) FROM live_progress").result_rows == [(stored,)]
    minutes = "SELECT sum(events) FROM live_engagement_minute WHERE dimension = 'all'"
    assert clickhouse.query(minutes).result_rows == [(stored,)]
    rejects = clickhouse.query("SELECT countIf(verdict = 'duplicate'), count() FROM live_rejects FINAL").result_rows
    assert rejects == [(duplicate, duplicate + quarantined)]


@pytest.fixture
def collector_proxy(start_collector):
    _, client = start_collector()
    lossy = LossyProxy("127.0.0.1", client.base_url.port, b"POST /v1/events")
    yield lossy
    lossy.close()


def send_until_acknowledged(proxy, history, batches=10, rows=20):
    """As a client does: no 200, send again. Returns how often rows went out again."""
    again = 0
    for _ in range(batches):
        batch = [
            {
                "event_id": str(uuid.uuid4()),
                "type": "ad.clicked",
                "actor": f"a{n}",
                "occurred_at": "2026-03-01T10:00:00Z",
            }
            for n in range(rows)
        ]
        ids = [row["event_id"] for row in batch]
        history.sending(ids)
        while True:
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{proxy.port}/v1/events",
                    json=batch,
                    headers={"X-Write-Key": "secret"},
                    timeout=30,
                )
            except httpx.TransportError:
                again += 1
                continue
            assert answer.status_code == 200
            history.answered(ids)
            break
    return again


def ids_in_the_log(event_log):
    places = [OffsetRange(t, p, *bounds) for t in TOPICS for p, bounds in event_log.watermarks(t).items()]
    return [json.loads(value)["event_id"] for chunk in event_log.read(places) for value in chunk.values]


def test_twenty_lost_acknowledgements_store_every_row_once(
    collector_proxy, event_log, whole_log, start_worker, tmp_path
):
    """Twenty times the rows are durable and the 200 is lost: the log holds them again, the store does not."""
    history = History()
    collector_proxy.lose = 20
    assert send_until_acknowledged(collector_proxy, history) == 20
    assert collector_proxy.lose == 0
    assert len(ids_in_the_log(event_log)) == (10 + 20) * 20
    start_worker("raw")
    assert wait_until_processed(event_log, ["raw"], whole_log(), timeout=60)
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    ranges = [PositionRange(*place) for place in whole_log()]
    stored = [event_id for chunk in store.read_events(ranges) for event_id in chunk["event_id"]]
    counts = store.verdicts(ranges).values()
    store.close()
    assert history.judge(times(stored)) == []
    assert sum(count.duplicate for count in counts) == 20 * 20


def test_requests_that_are_cut_short_leave_nothing_behind(collector_proxy, event_log):
    history = History()
    collector_proxy.cut = 20
    assert send_until_acknowledged(collector_proxy, history) == 20
    assert history.judge(times(ids_in_the_log(event_log))) == []


def test_a_slow_network_loses_nothing(collector_proxy, event_log):
    history = History()
    collector_proxy.delay = 0.1
    assert send_until_acknowledged(collector_proxy, history) == 0
    assert history.judge(times(ids_in_the_log(event_log))) == []
