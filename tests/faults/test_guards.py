"""What each guard is for: taken out, the damage it prevents is there, and the checks find it.

Every test here does what another test does with the guard in place (docs/reliability.md names the pairs). A guard whose
removal nobody would notice is not tested, and perhaps not needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from clickhouse_connect.driver.client import Client
from history import History, times
from lossy_proxy import LossyProxy

import streaming.worker.live
from assets.publishing import build as building
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from resources.event_log.base import EventLog, OffsetRange
from resources.raw_store import open_raw_store, sqlite_schema
from resources.raw_store.base import PositionRange
from serving.ledger import ledger
from streaming.sources.files import wait_until_processed
from streaming.worker.announcement import Announcement
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker
from streaming.worker.stats import read_stats


@contextmanager
def working(config: WorkerConfig) -> Iterator[None]:
    """A worker in this process, where a test can take a guard out."""
    stop = threading.Event()
    thread = threading.Thread(target=run_worker, args=(config, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.fixture
def config(log_url: str, clickhouse_url: str, tmp_path: Path) -> WorkerConfig:
    return WorkerConfig(
        "live",
        log_url,
        raw_store_url=f"sqlite:///{tmp_path}/raw.db",
        clickhouse_url=clickhouse_url,
        topic_partitions=2,
        linger=0.01,
        drain_timeout=1.0,
        stats_path=tmp_path / "live.json",
        stats_interval=0.05,
    )


def live_history(source: Any, clickhouse: Client) -> set[str]:
    """Kinds of violations of what was sent, in ClickHouse."""
    history = History()
    history.sending(source.ids)
    history.answered(source.ids)
    stored = [row[0] for row in clickhouse.query("SELECT toString(event_id) FROM events").result_rows]
    return {violation.kind for violation in history.judge(times(stored))}


def rollup_total(clickhouse: Client) -> int:
    sql = "SELECT sum(events) FROM live_engagement_minute WHERE dimension = 'all'"
    return int(clickhouse.query(sql).result_rows[0][0])


@pytest.mark.parametrize("guarded", [True, False])
def test_the_deduplication_token(
    guarded: bool,
    config: WorkerConfig,
    source: Any,
    event_log: EventLog,
    whole_log: Callable[[], list[OffsetRange]],
    clickhouse: Client,
    clickhouse_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answers of inserts are lost. Without the token the repeats double rows, and history and ledger say so."""
    if not guarded:
        insert = streaming.worker.live.insert_frame
        monkeypatch.setattr(
            streaming.worker.live, "insert_frame", lambda client, table, rows, token: insert(client, table, rows)
        )
    parts = urlsplit(clickhouse_url)
    proxy = LossyProxy(str(parts.hostname), int(parts.port or 0), b"INSERT")
    proxy.lose = 2
    source.send(40)
    with working(replace(config, clickhouse_url=f"http://127.0.0.1:{proxy.port}{parts.path}")):
        assert wait_until_processed(event_log, ["live"], whole_log(), timeout=60)
    proxy.close()
    account = ledger(event_log, None, clickhouse)
    assert live_history(source, clickhouse) == (set() if guarded else {"doubled"})
    assert (account["doubled"].sum() == 0) is guarded
    assert (rollup_total(clickhouse) == len(source.ids)) is guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_the_announcement_in_the_commits_metadata(
    guarded: bool,
    config: WorkerConfig,
    source: Any,
    event_log: EventLog,
    whole_log: Callable[[], list[OffsetRange]],
    clickhouse: Client,
    eventually: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker ends while a block is in the table and not in a view. Only who reads the announcement completes it."""
    clickhouse.command("ALTER TABLE live_engagement_minute ADD CONSTRAINT broken CHECK events > 1000000")
    source.send(40)
    with working(config):
        eventually(lambda: clickhouse.query("SELECT count() FROM events").result_rows != [(0,)], 30)
        eventually(lambda: (read_stats(tmp_path / "live.json") or {}).get("state") == "waiting", 30)
    clickhouse.command("ALTER TABLE live_engagement_minute DROP CONSTRAINT broken")
    if not guarded:
        monkeypatch.setattr(Announcement, "decode", classmethod(lambda _cls, _metadata: None))
    with working(config):
        assert wait_until_processed(event_log, ["live"], whole_log(), timeout=60)
    assert live_history(source, clickhouse) == set()
    assert (rollup_total(clickhouse) == len(source.ids)) is guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_the_identity_of_the_raw_store(
    guarded: bool,
    config: WorkerConfig,
    source: Any,
    event_log: EventLog,
    whole_log: Callable[[], list[OffsetRange]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every third row comes twice. Without the unique key (MongoDB: `_id`) the raw store keeps it twice."""
    if not guarded:
        kept = tuple(ddl for ddl in sqlite_schema.DDL if "events_identity" not in ddl)
        monkeypatch.setattr(sqlite_schema, "DDL", kept)
        plain = sqlite_schema.INSERT_EVENT.replace(" ON CONFLICT (workspace, event_id) DO NOTHING", "")
        monkeypatch.setattr(sqlite_schema, "INSERT_EVENT", plain)
    source.send(40)
    with working(replace(config, group="raw")):
        assert wait_until_processed(event_log, ["raw"], whole_log(), timeout=60)
    store = open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    ranges = [PositionRange(*place) for place in whole_log()]
    stored = [event_id for chunk in store.read_events(ranges) for event_id in chunk["event_id"]]
    store.close()
    history = History()
    history.sending(source.ids)
    assert {each.kind for each in history.judge(times(stored))} == (set() if guarded else {"doubled"})


@pytest.mark.parametrize("guarded", [True, False])
def test_the_row_that_publishes(
    guarded: bool, platform: Any, make_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader asks while hours are rebuilt with late rows. Without the row in `seals` it sees both builds at once."""
    hour = datetime(2026, 3, 4, 10, tzinfo=UTC)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    everything = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    platform.send(make_events(1, 300, hour, hour + timedelta(minutes=50)), at=hour + timedelta(minutes=59))
    seal_range(stores, everything, "first", lambda _text: None)
    table = "engagement_hourly" if guarded else "engagement_hourly_builds"

    history = History()

    def ask() -> None:
        sql = f"SELECT sum(events) FROM {table} WHERE dimension = 'all'"
        restated = platform.clickhouse.query(
            "SELECT count() FROM seals WHERE dataset = 'engagement_hourly'"
        ).result_rows[0][0]
        history.saw_sealed(f"10 o'clock, sealed {restated} times", platform.clickhouse.query(sql).result_rows[0][0])

    ask()
    publish = building.publish_build

    def ask_before_publishing(*arguments: Any) -> None:
        ask()  # the new build is staged, and nobody may see it
        publish(*arguments)

    monkeypatch.setattr(building, "publish_build", ask_before_publishing)
    platform.send(make_events(2, 50, hour, hour + timedelta(minutes=50)), at=hour + timedelta(hours=3))
    seal_range(stores, everything, "late", lambda _text: None)
    ask()
    assert {each.kind for each in history.judge({})} == (set() if guarded else {"flickered"})
