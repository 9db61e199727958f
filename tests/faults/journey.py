"""The whole way of some rows through every store, in one process that may be killed at any named place.

Belongs here: the stages. Does not belong here: the processes (`lives`), what must come out (`test_every_crash_point`).

A stage that was interrupted is done again from its start, as a person would do it who starts a process or a command
again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from assets.publishing.maintenance import purge_unpublished
from assets.raw_events.process import Stores, archive_hour
from assets.sealing import SealRequest, seal_range
from contracts.event_types import TOPICS
from contracts.mapping import load_mapping
from orchestration.quarantine import replay_quarantine
from orchestration.replay import rebuild_live, replay_window
from orchestration.settings import Settings
from orchestration.stack.stores import prepare_stores
from resources.archive.object_archive import ObjectArchive
from resources.archive.objects import open_objects
from resources.clickhouse import open_clickhouse
from resources.event_log import open_event_log
from resources.event_log.base import OffsetRange
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange, QuarantineFilter
from streaming.intake import Submission, admit
from streaming.publisher.live_ads import refresh_live_ads
from streaming.publisher.sessions import take_round
from streaming.sources.files import wait_until_processed
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

FIRST_HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERYTHING = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
TYPES = ("reaction.added", "ad.clicked", "user.signed_in", "post.created")
SHOP = """
name: shop
network: shop
format: csv
identity: {{columns: [$file, $row]}}
time: {{column: at, format: ["{time}"]}}
actor: who
object: what
events:
  - type: reaction.added
"""


def rows_of(hour: int, first: int, count: int) -> list[bytes]:
    """Rows of one event hour: every fifth comes twice, every eighth is broken."""
    rows: list[bytes] = []
    for number in range(first, first + count):
        row = json.dumps(
            {
                "event_id": f"01890000-0000-7000-8000-{number:012d}",
                "type": TYPES[number % 4],
                "actor": f"actor-{number % 7}",
                "object": f"object-{number % 3}",
                "topics": ["news"],
                "occurred_at": (FIRST_HOUR + hour * HOUR + timedelta(seconds=37 * (number % 60))).isoformat(),
            }
        ).encode()
        rows += [row, row] if number % 5 == 0 else [row]
        if number % 8 == 0:
            rows.append(b'{"broken": %d, ' % number)
    return rows


def shop_rows(first: int) -> pl.DataFrame:
    at = f"04.03.2026 1{first % 2}:15"
    return pl.DataFrame({"who": [f"w{first}", f"w{first + 1}"], "what": ["p1", "p2"], "at": [at, at]})


class Journey:
    """One life: goes through the stages that no life before has finished."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.log = open_event_log(self.settings.event_log_url)
        self.raw_store = open_raw_store(self.settings.raw_store_url)
        # Replaced parts need not stay for slow readers: there are none.
        objects = open_objects(self.settings.archive_url)
        self.archive = ObjectArchive(self.settings.archive_url, objects, timedelta(0), timedelta(0))

    def run(self, until: str) -> None:
        """Do what is not done yet of the stages up to `until`, and close the stores."""
        names = [stage.__name__ for stage in STAGES]
        for stage in STAGES[: names.index(until) + 1]:
            self.once(stage.__name__, partial(stage, self))
        self.raw_store.close()
        self.log.close()

    def once(self, name: str, action: Callable[[], object]) -> None:
        done = self.home / "done" / name
        if not done.exists():
            action()
            done.parent.mkdir(exist_ok=True)
            done.touch()

    def send(self, name: str, rows: Sequence[bytes] | pl.DataFrame, at: datetime, mapping: Any = "tally") -> None:
        """As a client does: without an answer the rows are sent again, with the same ids."""
        submission = Submission(rows, load_mapping(mapping), "demo", at, f"receipt-{name}", source=name)

        def append() -> None:
            with clock(at):
                admit(submission, self.log)

        self.once(f"answered-{name}", append)

    def work(self, live_members: int = 1) -> None:
        """Let the workers of both groups take everything; with two live members the second joins later."""
        stop = threading.Event()
        ranges = self.ranges()
        groups = ["raw", *["live"] * live_members]
        threads = []
        for number, group in enumerate(groups):
            config = WorkerConfig(
                group,  # type: ignore[arg-type]  # one of the two literals
                self.settings.event_log_url,
                self.settings.raw_store_url,
                self.settings.clickhouse_url,
                member_id=f"{group}-{number}",
                topic_partitions=2,
                linger=0.01,
            )
            threads.append(threading.Thread(target=run_worker, args=(config, stop), daemon=True))
            threads[-1].start()
            assert wait_until_processed(self.log, ["live"] if number == 1 else [], ranges, timeout=60)
        assert wait_until_processed(self.log, ["raw", "live"], ranges, timeout=60)
        stop.set()
        for thread in threads:
            thread.join(30)
        self.publish_live()

    def publish_live(self) -> None:
        """Do what the publisher does all the time."""
        with open_clickhouse(self.settings.clickhouse_url) as client:
            while take_round(client):
                pass
            while refresh_live_ads(client, datetime.now(UTC)):
                pass

    def ranges(self) -> list[OffsetRange]:
        marks = [(topic, self.log.watermarks(topic)) for topic in TOPICS]
        return [OffsetRange(t, p, low, high) for t, places in marks for p, (low, high) in places.items()]

    def seal(self, *, rebuild: bool = False) -> None:
        with open_clickhouse(self.settings.clickhouse_url) as client:
            stores = Stores(self.log, self.raw_store, self.archive, client)
            request = SealRequest(EVERYTHING.start, EVERYTHING.end, rebuild=rebuild)
            sealed = seal_range(stores, request, "journey", lambda _text: None)
            assert sealed.failed == {}
            assert sealed.incomplete.is_empty()

    def archive_first_hour(self) -> None:
        """In two parts, as the sensor's runs do, and then as the run does that closes the hour."""
        with open_clickhouse(self.settings.clickhouse_url) as client:
            stores = Stores(self.log, self.raw_store, self.archive, client)
            end = self.log.offsets_at("user-events", round((FIRST_HOUR + HOUR).timestamp() * 1000))
            half = [PositionRange("user-events", partition, 0, offset) for partition, offset in end.items() if offset]
            now = datetime.now(UTC)
            archive_hour(stores, FIRST_HOUR, now, half)
            archive_hour(stores, FIRST_HOUR, now)


def set_up(journey: Journey) -> None:
    prepare_stores(journey.settings)


def send(journey: Journey) -> None:
    for hour in range(2):
        journey.send(f"hour-{hour}", rows_of(hour, 100 * hour, 40), FIRST_HOUR + hour * HOUR + timedelta(minutes=59))


def work(journey: Journey) -> None:
    journey.work()


def seal(journey: Journey) -> None:
    journey.archive_first_hour()
    journey.seal()


def send_late_rows_and_rows_nobody_understands(journey: Journey) -> None:
    journey.send("late", rows_of(0, 200, 20), FIRST_HOUR + 5 * HOUR)
    mapping = journey.home / "shop.yaml"
    mapping.write_text(SHOP.format(time="%Y/%m/%d"))
    for number in (1, 3):
        journey.send(f"shop-{number}.csv", shop_rows(number), FIRST_HOUR + 5 * HOUR, mapping)


def work_in_two(journey: Journey) -> None:
    journey.work(live_members=2)


def restate(journey: Journey) -> None:
    journey.seal()


def leave_quarantine(journey: Journey) -> None:
    mapping = journey.home / "mended.yaml"
    mapping.write_text(SHOP.format(time="%d.%m.%Y %H:%M"))
    where = QuarantineFilter(network="shop")
    replay_quarantine(journey.log, journey.raw_store, where, mapping=load_mapping(mapping))
    journey.work()
    journey.seal()


def damage(journey: Journey) -> None:
    """Rows are lost in both stores, and of the rollups as well: no crash point, this is what others repair."""
    journey.raw_store.close()
    with sqlite3.connect(journey.home / "raw_store.db") as database:
        database.execute("DELETE FROM events WHERE log_offset % 5 = 2")
    with open_clickhouse(journey.settings.clickhouse_url) as client:
        client.command("DELETE FROM events WHERE log_offset % 4 = 1")


def repair(journey: Journey) -> None:
    replay_window(journey.settings, EVERYTHING.start, EVERYTHING.end, lambda _text: None)
    journey.publish_live()


def rebuild(journey: Journey) -> None:
    rebuild_live(journey.settings, lambda _text: None)
    journey.publish_live()


def tidy(journey: Journey) -> None:
    """A build that changes nothing stays unpublished; it and what was replaced in the archive are cleared away."""
    journey.seal(rebuild=True)
    with open_clickhouse(journey.settings.clickhouse_url) as client:
        purge_unpublished(client, timedelta(0))
    journey.archive.sweep()


STAGES: tuple[Callable[[Journey], None], ...] = (
    set_up,
    send,
    work,
    seal,
    send_late_rows_and_rows_nobody_understands,
    work_in_two,
    restate,
    leave_quarantine,
    damage,
    repair,
    rebuild,
    tidy,
)


@contextmanager
def clock(at: datetime) -> Iterator[None]:
    """Let the log append at this time."""
    real = time.time_ns
    time.time_ns = lambda: round(at.timestamp() * 1_000_000_000)
    try:
        yield
    finally:
        time.time_ns = real
