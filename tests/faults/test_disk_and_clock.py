"""A disk that is full, and a clock that jumps an hour forth and back: waiting instead of losing, hours that stay whole.

The full disk is a limit on the size of files (RLIMIT_FSIZE), lifted from outside while the process runs. The clock is
the one that the log asks for append times, set by the test.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from history import History, times

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range, unarchived
from contracts.event_types import TOPICS
from resources.event_log.base import OffsetRange
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange
from serving.ledger import ledger
from serving.verify import verify
from streaming.sources.files import wait_until_processed
from streaming.worker.stats import read_stats

NOW = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)

needs_prlimit = pytest.mark.skipif(sys.platform != "linux", reason="lifting another process's limit needs Linux")


def limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@needs_prlimit
def test_a_raw_store_on_a_full_disk_is_waited_for(source, start_worker, event_log, whole_log, eventually, tmp_path):
    source.send(20)
    worker = start_worker("raw", stats_interval=0.05)
    assert wait_until_processed(event_log, ["raw"], whole_log(), timeout=60)
    limit_files(worker.pid, 4096)
    for _ in range(3):
        source.send(200)
    eventually(lambda: (read_stats(tmp_path / "raw.json") or {}).get("state") == "waiting", 60)
    assert str(tmp_path / "raw.db") in read_stats(tmp_path / "raw.json")["problem"]
    limit_files(worker.pid, resource.RLIM_INFINITY)
    assert wait_until_processed(event_log, ["raw"], whole_log(), timeout=60)
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    counts = store.verdicts([PositionRange(*place) for place in whole_log()]).values()
    store.close()
    assert tuple(sum(column) for column in zip(*counts, strict=True)) == source.expected


@needs_prlimit
def test_a_log_on_a_full_disk_acknowledges_nothing(start_collector, event_log):
    """503 and "send again" as long as it is full; what is acknowledged is there, and nothing of the rest is doubled."""
    process, client = start_collector()
    history = History()

    def send(number: int) -> int:
        ids = [f"0190a1b2-0000-7000-8000-{number:04d}{row:08d}" for row in range(200)]
        rows = [{"event_id": i, "type": "ad.clicked", "actor": "a", "occurred_at": "2026-03-01T10:00:00Z"} for i in ids]
        history.sending(ids)
        try:
            answer = client.post("/v1/events", json=rows)
        except httpx.TransportError:
            return 0
        if answer.status_code == 200:
            history.answered(ids)
        return answer.status_code

    assert send(0) == 200
    limit_files(process.pid, 4096)
    refused = [send(number) for number in range(1, 4)]
    assert set(refused) == {503}
    limit_files(process.pid, resource.RLIM_INFINITY)
    deadline = time.monotonic() + 60
    while send(4) != 200:
        assert time.monotonic() < deadline, "the collector does not recover"
    places = [OffsetRange(t, p, *bounds) for t in TOPICS for p, bounds in event_log.watermarks(t).items()]
    found = [json.loads(value)["event_id"] for chunk in event_log.read(places) for value in chunk.values]
    assert {each.kind for each in history.judge(times(found))} <= {"doubled"}, "rows sent again may be there again"
    assert history.acknowledged <= set(found)


def test_a_clock_that_jumps_keeps_append_times_in_order_and_hours_whole(platform, make_events):
    """An hour forth, an hour back: a partition's append times never fall, every event is archived and sealed once."""
    sent = 0
    for number, shift in enumerate((timedelta(0), HOUR, -HOUR, timedelta(0), 2 * HOUR)):
        events = make_events(number, 100, NOW - HOUR, NOW)
        platform.send(events, at=NOW + shift)
        sent += events.height
    for topic in TOPICS:
        ranges = [OffsetRange(topic, p, low, high) for p, (low, high) in platform.log.watermarks(topic).items()]
        for chunk in platform.log.read(ranges):
            assert list(chunk.timestamps) == sorted(chunk.timestamps)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    everything = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert seal_range(stores, everything, "clock", lambda _text: None).failed == {}
    assert list(unarchived(stores)) == []
    assert sum(part.rows for part in platform.archive.parts()) == sent
    assert ledger(platform.log, platform.raw_store, platform.clickhouse)["balanced"].all()
    verdicts = verify(platform.clickhouse)
    assert set(verdicts["verdict"]) == {"equal"}
    assert verdicts["sealed"].sum() == sent
