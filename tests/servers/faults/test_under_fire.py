"""100,000 events through real servers while every process and every server is killed and paused: none lost, none twice.

Senders send again what was not acknowledged; a reader asks all the time. At the end the history is judged against both
stores, the account must balance, and the aggregates must be those of a computation from what was sent.

The raw store of the large run is SQLite's: MongoDB's stand-in looks through whole collections where a server uses an
index, so that 100,000 events take it an hour. It has a run of its own, smaller; it keeps its data in memory, so it is
paused, not killed. Redis is no station of an event: it is killed to show that nobody misses it.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fault_report import Line, report
from history import History, by_fault, times
from platform_under_fire import KEY, Platform, Reader, Sender, eventually

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from contracts.event_types import TOPICS
from deploy.servers import Server
from resources.archive import open_archive
from resources.clickhouse import open_clickhouse, query_frame
from resources.event_log import open_event_log
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange
from serving.ledger import ledger
from serving.verify import verify

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]

EVENTS = 100_000
KILLS = 3
OLD_HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)


@dataclass
class Fire:
    """The platform, its servers, and what was done to them."""

    platform: Platform
    history: History
    servers: dict[str, Server]
    recoveries: dict[str, list[float]] = field(default_factory=dict)

    def during(self, fault: str, harm: Callable[[], float]) -> None:
        """Do it; `harm` returns how long the platform took to be well again."""
        self.history.fault = fault
        self.recoveries.setdefault(fault, []).append(harm())
        threading.Event().wait(1.0)  # some rows of the ordinary kind between two faults
        self.history.fault = ""

    def kill(self, name: str, down: float = 0.5) -> float:
        """SIGKILL one of our processes or a server, start it again, and return the seconds until rows pass again."""
        victim: Any = self.platform.processes.get(name) or self.servers[name]
        victim.kill()
        threading.Event().wait(down)
        began = datetime.now(UTC)
        if isinstance(victim, Server):
            victim.start(wait=False)
        else:
            victim.start()
        self.a_row_passes()
        return (datetime.now(UTC) - began).total_seconds()

    def pause(self, name: str, seconds: float) -> float:
        victim: Any = self.platform.processes.get(name) or self.servers[name]
        victim.pause()
        threading.Event().wait(seconds)
        victim.resume()
        began = datetime.now(UTC)
        self.a_row_passes()
        return (datetime.now(UTC) - began).total_seconds()

    def a_row_passes(self) -> None:
        """A row that is sent now is acknowledged, and is in both stores."""
        row = {
            "event_id": str(uuid.uuid4()),
            "type": "post.created",
            "actor": "probe",
            "occurred_at": datetime.now(UTC).isoformat(),
        }
        self.history.sending([row["event_id"]])
        url = f"http://127.0.0.1:{self.platform.collector_port}/v1/events"

        def acknowledged() -> bool:
            try:
                return httpx.post(url, json=row, headers={"X-Write-Key": KEY}, timeout=15).status_code == 200
            except httpx.HTTPError:
                return False

        def stored() -> bool:
            sql = "SELECT count() FROM events WHERE event_id = {id:UUID} AND actor = 'probe'"
            try:
                with open_clickhouse(self.platform.clickhouse_url) as client:
                    live = client.query(sql, parameters={"id": row["event_id"]}).result_rows[0][0]
                store = open_raw_store(self.platform.raw_store_url)
                try:
                    return bool(live) and store.get_event("demo", row["event_id"]) is not None
                finally:
                    store.close()
            except Exception:  # whichever store is down: ask again
                return False

        eventually(acknowledged, "a row is acknowledged")
        self.history.answered([row["event_id"]])
        eventually(stored, "the row is in both stores")


@pytest.fixture
def fire(start_server: Callable[[str], Server], tmp_path: Path) -> Iterator[Fire]:
    servers = {name: start_server(name) for name in ("kafka", "redis")}
    with Platform(tmp_path, servers["kafka"].url, f"sqlite:///{tmp_path / 'raw.db'}") as platform:
        platform.start()
        yield Fire(platform, History(), servers)


@pytest.fixture
def mongodb_fire(start_server: Callable[[str], Server], tmp_path: Path) -> Iterator[Fire]:
    servers = {name: start_server(name) for name in ("kafka", "mongodb")}
    with Platform(tmp_path, servers["kafka"].url, f"{servers['mongodb'].url}/fire") as platform:
        platform.start()
        yield Fire(platform, History(), servers)


def seal_old_hours(fire: Fire, folder: Path) -> None:
    """Two hours that are over are filled, archived and sealed before anything breaks."""
    rows = [
        {
            "event_id": str(uuid.uuid4()),
            "type": "post.created",
            "actor": f"actor-{number % 50}",
            "occurred_at": (OLD_HOUR + timedelta(seconds=7 * number)).isoformat(),
        }
        for number in range(1000)
    ]
    fire.history.sending(row["event_id"] for row in rows)
    url = f"http://127.0.0.1:{fire.platform.collector_port}/v1/events"
    assert httpx.post(url, json=rows, headers={"X-Write-Key": KEY}, timeout=60).status_code == 200
    fire.history.answered(row["event_id"] for row in rows)
    eventually(fire.platform.is_drained, "both groups have taken the first rows")
    assert seal(fire, folder)


def seal(fire: Fire, folder: Path) -> int:
    """Archive and seal what is due; return how many buckets were published."""
    log, store = open_event_log(fire.platform.log_url), open_raw_store(fire.platform.raw_store_url)
    (folder / "archive").mkdir(exist_ok=True)
    with open_clickhouse(fire.platform.clickhouse_url) as client:
        stores = Stores(log, store, open_archive(f"file://{folder / 'archive'}"), client)
        request = SealRequest(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
        sealed = seal_range(stores, request, "fire", lambda _text: None)
    store.close()
    log.close()
    assert sealed.failed == {}
    return sum(each.published.height for each in sealed.reports)


def test_nothing_is_lost_or_doubled_while_everything_is_killed_and_paused(
    fire: Fire, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    platform, history = fire.platform, fire.history
    seal_old_hours(fire, tmp_path)
    sender = Sender(platform, history)
    reader = Reader(platform.clickhouse_url, history, (OLD_HOUR, OLD_HOUR + timedelta(hours=2)))
    sender.start()
    reader.start()

    for name in ("collector", "worker-raw", "worker-live", "clickhouse", "kafka"):
        for _ in range(KILLS):
            fire.during(f"{name} killed", lambda name=name: fire.kill(name))
    fire.during("redis killed", lambda: fire.kill("redis"))
    for name, seconds in (("kafka", 60.0), ("kafka", 20.0), ("clickhouse", 20.0), ("worker-live", 20.0)):
        fire.during(f"{name} paused {seconds:g} s", lambda name=name, seconds=seconds: fire.pause(name, seconds))
    fire.during("two of each worker, under one name", lambda: twins(fire))
    eventually(lambda: len(history.acknowledged) >= EVENTS, f"{EVENTS:,} events are acknowledged", 400)
    sender.stop()
    eventually(platform.is_drained, "both groups have taken everything", 300)
    reader.stop()

    assert reader.answers > 100
    judge(fire, record_property, f"all of it; {reader.answers} answers meanwhile, {sender.again} batches sent again")
    assert aggregates(fire) == oracle(sender)
    seal(fire, tmp_path)
    with open_clickhouse(platform.clickhouse_url) as client:
        assert set(verify(client)["verdict"]) == {"equal"}


def test_nothing_is_lost_or_doubled_on_mongodb(
    mongodb_fire: Fire, record_property: Callable[[str, object], None]
) -> None:
    fire, platform = mongodb_fire, mongodb_fire.platform
    sender = Sender(platform, fire.history, rows=50, pause=0.5)
    sender.start()
    fire.during("worker-raw dies between two inserts of a batch", lambda: die_between_inserts(fire))
    for _ in range(KILLS):
        fire.during("worker-raw killed, on MongoDB", lambda: fire.kill("worker-raw"))
    fire.during("mongodb paused 20 s", lambda: fire.pause("mongodb", 20.0))
    sender.stop()
    eventually(platform.is_drained, "both groups have taken everything", 300)
    judge(fire, record_property, "all of it, on MongoDB")
    assert aggregates(fire) == oracle(sender)


def die_between_inserts(fire: Fire) -> float:
    """The worker is started with a crash point in MongoDB's batch, dies there, and is started without."""
    worker = fire.platform.processes["worker-raw"]
    worker.kill()
    worker.environment["TALLY_CRASH_AT"] = "raw_store.mongodb.between_inserts"
    worker.start()
    eventually(lambda: worker.exit_code is not None, "the worker dies at its crash point")
    assert worker.exit_code == -signal.SIGKILL
    del worker.environment["TALLY_CRASH_AT"]
    began = datetime.now(UTC)
    worker.start()
    fire.a_row_passes()
    return (datetime.now(UTC) - began).total_seconds()


def judge(fire: Fire, record_property: Callable[[str, object], None], everything: str) -> None:
    """Report a line per fault; then both stores must keep every promise, and the account must balance."""
    history = fire.history
    assert history.acknowledged == history.sent.keys()
    violations = history.judge(times(live_ids(fire))) + history.judge(times(raw_ids(fire)))
    told = by_fault(violations)
    for fault, seconds in fire.recoveries.items():
        rows = sum(1 for at in history.sent.values() if at == fault)
        lost, doubled = (told.get(fault, {}).get(kind, 0) for kind in ("lost", "doubled"))
        report(record_property, Line(fault, len(seconds), rows, lost, doubled, max(seconds)))
    lost, doubled = (sum(counts[kind] for counts in told.values()) for kind in ("lost", "doubled"))
    report(record_property, Line(everything, 1, len(history.sent), lost, doubled))
    assert violations == []
    account(fire)


def twins(fire: Fire) -> float:
    """By mistake a second worker of each group is started under the name of the first."""
    copies = [fire.platform.worker(group, f"worker-{group}") for group in ("raw", "live")]
    for copy in copies:
        copy.start()
    for _ in range(3):
        fire.a_row_passes()
    for copy in copies:
        copy.kill()
    began = datetime.now(UTC)
    for name in ("worker-raw", "worker-live"):  # the first ones may have given up their name
        if fire.platform.processes[name].exit_code is not None:
            fire.platform.processes[name].start()
    fire.a_row_passes()
    return (datetime.now(UTC) - began).total_seconds()


def live_ids(fire: Fire) -> list[str]:
    with open_clickhouse(fire.platform.clickhouse_url) as client:
        return query_frame(client, "SELECT toString(event_id) AS id FROM events")["id"].to_list()


def raw_ids(fire: Fire) -> list[str]:
    log, store = open_event_log(fire.platform.log_url), open_raw_store(fire.platform.raw_store_url)
    try:
        ranges = [PositionRange(t, p, *marks) for t in TOPICS for p, marks in log.watermarks(t).items()]
        return [event_id for chunk in store.read_events(ranges) for event_id in chunk["event_id"]]
    finally:
        store.close()
        log.close()


def account(fire: Fire) -> None:
    """Every offset has one verdict in each store, and nothing waits."""
    log, store = open_event_log(fire.platform.log_url), open_raw_store(fire.platform.raw_store_url)
    with open_clickhouse(fire.platform.clickhouse_url) as client:
        rows = ledger(log, store, client)
    store.close()
    log.close()
    assert rows["balanced"].all(), rows.filter(~rows["balanced"])
    assert rows["lag"].sum() == 0


def aggregates(fire: Fire) -> dict[tuple[str, str], tuple[int, int]]:
    """(hour, type) → events and distinct actors, as the live rollup of hours says; of the rows of the sender."""
    sql = (
        "SELECT toString(bucket) AS hour, toString(type) AS type, sum(events) AS events, uniqExactMerge(actors) AS n"
        " FROM live_engagement_hour WHERE dimension = 'object' GROUP BY ALL"
    )
    with open_clickhouse(fire.platform.clickhouse_url) as client:
        return {(hour, type_): (events, n) for hour, type_, events, n in client.query(sql).result_rows}


def oracle(sender: Sender) -> dict[tuple[str, str], tuple[int, int]]:
    """The same from what was sent. (Probes and the old hours' rows have no object.)"""
    actors: dict[tuple[str, str], list[str]] = {}
    for row in sender.events:
        hour = datetime.fromisoformat(row["occurred_at"]).replace(minute=0, second=0, microsecond=0)
        actors.setdefault((f"{hour:%Y-%m-%d %H:%M:%S}", row["type"]), []).append(row["actor"])
    return {key: (len(named), len(set(named))) for key, named in actors.items()}
