"""What is derived can be thrown away: ClickHouse is built again from log and archive, and history is filled beside
readers who never see a hole."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from contents import differences, read_contents
from history import History
from journey import Journey

from assets.archive_index import sync
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from orchestration.replay import rebuild_live
from orchestration.settings import Settings
from resources.clickhouse import open_clickhouse
from resources.clickhouse.migrate import migrate
from serving.query import MetricQuery, answer

EVERYTHING = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
HISTORY_ONLY = {"seals", "restatements"}
"""What happened to closed hours is the one thing that neither log nor archive can tell again."""


def test_every_table_of_clickhouse_can_be_built_again(
    clickhouse_url: str, clickhouse_admin: Client, tmp_path: Path
) -> None:
    """The database is dropped. Live tables come from the log, the index and the sealed tables from the archive."""
    home = tmp_path / "home"
    home.mkdir()
    settings = Settings(home=home, clickhouse_url=clickhouse_url, topic_partitions=2)
    Journey(settings).run("restate")
    before = read_contents(settings)
    clickhouse_admin.command(f"DROP DATABASE {clickhouse_url.rsplit('/', 1)[1]} SYNC")
    migrate(clickhouse_url)
    rebuild_live(settings, lambda _text: None)
    journey = Journey(settings)
    journey.publish_live()
    with open_clickhouse(clickhouse_url) as client:
        for hour in sorted({part.ingest_hour for part in journey.archive.parts()}):
            sync(client, journey.archive, hour)
    journey.seal()
    journey.raw_store.close()
    journey.log.close()
    after = read_contents(settings)
    kept = [{name: frame for name, frame in each.items() if name not in HISTORY_ONLY} for each in (after, before)]
    assert differences(*kept) == []
    newest = [each["seals"].unique(["dataset", "at", "network"], keep="last").drop("cause") for each in (after, before)]
    assert newest[0].sort(pl.all()).equals(newest[1].sort(pl.all()))


def test_an_answer_as_of_yesterday_stays_the_same_to_the_bit(platform: Any, make_events: Any) -> None:
    """Late rows restate an hour; who asks as of before gets every byte of the answer that was given before."""
    hour = datetime(2026, 3, 4, 10, tzinfo=UTC)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    platform.send(make_events(1, 300, hour, hour + timedelta(hours=2)), at=hour + timedelta(hours=2))
    seal_range(stores, EVERYTHING, "first", lambda _text: None)
    span = {"start": hour, "end": hour + timedelta(hours=2)}
    questions = [MetricQuery("events", by=("type",), **span), MetricQuery("active_actors", **span)]
    given = [answer(platform.clickhouse, question) for question in questions]
    platform.send(make_events(2, 80, hour, hour + timedelta(hours=2)), at=hour + timedelta(hours=5))
    seal_range(stores, EVERYTHING, "late", lambda _text: None)
    for question, before in zip(questions, given, strict=True):
        now = answer(platform.clickhouse, question)
        then = answer(platform.clickhouse, MetricQuery(question.metric, question.by, as_of=before.as_of, **span))
        assert not now.frame.equals(before.frame)
        assert then.frame.drop("complete").equals(before.frame.drop("complete"))


def test_ninety_days_are_filled_in_one_run_while_a_reader_sees_no_hole(platform: Any, make_events: Any) -> None:
    """Sealed once; then all 90 days are built again with late rows, and a reader asks all along."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    end = first + timedelta(days=90)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    platform.send(make_events(1, 3000, first, end), at=end)
    assert seal_range(stores, EVERYTHING, "first", lambda _text: None).failed == {}
    platform.send(make_events(2, 1000, first, end), at=end + timedelta(hours=3))

    history, stop = History(), threading.Event()
    sql = "SELECT sum(events) FROM engagement_hourly WHERE dimension = 'all'"

    def read() -> None:
        with open_clickhouse(platform.clickhouse_url) as client:
            while not stop.is_set():
                history.saw_count("sealed events", int(client.query(sql).result_rows[0][0]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        sealed = seal_range(stores, EVERYTHING, "late", lambda _text: None)
    finally:
        stop.set()
        reader.join(60)
    assert sealed.failed == {}
    built = [report.build.dataset for report in sealed.reports]
    assert built[:3] == ["connector_slices", "engagement_hourly", "engagement_daily"]
    assert len(built) == len(set(built)), "one build per dataset"
    assert history.judge({}) == []
    seen = [count for count, _ in history.counts["sealed events"]]
    assert set(seen) <= {3000, 4000}, "one step from all old to all new"
    assert int(platform.clickhouse.query(sql).result_rows[0][0]) == 4000
