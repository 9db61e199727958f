"""ledger, verify and gaps on real stores: what is whole balances, what was taken away by hand is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from contracts.envelope import POSITION_SCHEMA, REJECT_SCHEMA
from contracts.event_types import CONTENT_EVENTS, QUARANTINE, TOPICS
from resources.archive import Archive, open_archive
from resources.clickhouse import insert_frame
from resources.event_log import open_event_log
from resources.event_log.base import Commit, EventLog, TopicPartition, TopicSpec
from resources.raw_store import open_raw_store
from resources.raw_store.base import PositionRange, RawStore
from serving import ledger as ledger_module
from serving.gaps import gaps
from serving.ledger import ledger
from serving.verify import differences, totals, verify

START = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEPT, REFUSED = 200, 5


class Stores(NamedTuple):
    log: EventLog
    raw: RawStore
    clickhouse: Client
    archive: Archive


@pytest.fixture
def stores(clickhouse: Client, reference: Any, tmp_path: Path) -> Iterator[Stores]:
    """200 events, of which the last 3 are duplicates, and 5 refused rows: in the log, the raw store and ClickHouse."""
    log, raw = open_event_log(f"sqlite:///{tmp_path}/log.db"), open_raw_store(f"sqlite:///{tmp_path}/raw.db")
    raw.ensure_schema()
    log.create_topics([TopicSpec(topic, 2) for topic in TOPICS])
    keys = [b"key"] * KEPT
    place = log.append(CONTENT_EVENTS, keys, [b"{}"] * KEPT)
    refused = log.append(QUARANTINE, [b"key"] * REFUSED, [b"{"] * REFUSED)
    rows = reference.make_events(seed=5, count=KEPT, start=START, end=START + 2 * HOUR).with_columns(
        pl.lit(CONTENT_EVENTS).alias("log_topic"),
        pl.Series("log_partition", place.partitions, pl.Int32),
        pl.Series("log_offset", place.offsets, pl.Int64),
    )
    new, again = rows.head(KEPT - 3), rows.tail(3).with_columns(rows.head(3)["event_id"], rows.head(3)["workspace"])
    raw.put_events(pl.concat([new, again]))
    reference.insert_events(clickhouse, new)
    rejects = pl.DataFrame(
        [("not_json", "x", "", "", "acme", "alpha", START, "r", b"{", QUARANTINE, p, o) for p, o in _places(refused)],
        schema=REJECT_SCHEMA | POSITION_SCHEMA,
        orient="row",
    )
    raw.put_quarantine(rejects)
    positions = ["workspace", "network", "receipt_id", "received_at", *POSITION_SCHEMA]
    for verdict, frame in (("duplicate", again), ("quarantined", rejects)):
        marked = frame.select(pl.lit(verdict).alias("verdict"), pl.lit("why").alias("reason"), *positions)
        insert_frame(clickhouse, "live_rejects", marked)
    for group in ("raw", "live"):
        consumer = log.consumer(group, list(TOPICS))
        consumer.poll(1000, 5)
        ends = {TopicPartition(t, p): Commit(high) for t in TOPICS for p, (_, high) in log.watermarks(t).items()}
        consumer.commit({where: ends[where] for where in consumer.assignment()})
        consumer.close()
    yield Stores(log, raw, clickhouse, open_archive(f"file://{tmp_path}/archive"))
    log.close()
    raw.close()


def _places(appended: Any) -> Iterator[tuple[int, int]]:
    return zip(appended.partitions, appended.offsets, strict=True)


def account(stores: Stores) -> pl.DataFrame:
    return ledger(stores.log, stores.raw, stores.clickhouse)


@pytest.mark.parametrize("chunk", [7, 1_000_000])
def test_a_whole_account_balances_in_both_stores(stores: Stores, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(ledger_module, "CHUNK", chunk)
    frame = account(stores)
    assert frame["balanced"].all()
    for group in ("live", "raw"):
        mine = frame.filter(pl.col("group") == group)
        sums = mine.select(pl.col("taken", "stored", "duplicate", "quarantined", "missing", "lag").sum()).row(0)
        assert sums == (KEPT + REFUSED, KEPT - 3, 3, REFUSED, 0, 0)
        assert mine.height == len(TOPICS) * 2


@pytest.mark.parametrize("chunk", [7, 1_000_000])
def test_rows_deleted_or_doubled_by_hand_are_named(stores: Stores, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(ledger_module, "CHUNK", chunk)
    partition = account(stores).filter(pl.col("stored") > 0)["partition"][0]
    # one gone and one doubled: a counter would not see it
    stores.clickhouse.command("DELETE FROM events WHERE log_offset = 17")
    stores.clickhouse.command("INSERT INTO events SELECT * FROM events WHERE log_offset = 23")
    stores.clickhouse.command("DELETE FROM live_rejects WHERE verdict = 'quarantined' AND log_offset = 2")
    wrong = account(stores).filter(~pl.col("balanced")).to_dicts()
    found = {(row["group"], row["topic"]): (row["missing"], row["doubled"], row["holes"]) for row in wrong}
    assert found == {("live", CONTENT_EVENTS): (1, 1, [17]), ("live", QUARANTINE): (1, 0, [2])}
    listed = gaps(stores.log, stores.raw, stores.clickhouse, stores.archive).filter(pl.col("kind") == "hole")
    assert f"live: {CONTENT_EVENTS}/{partition}" in listed["place"].to_list()
    assert all(command.startswith("tally repair --from ") for command in listed["command"])


def test_a_store_that_lags_balances_and_says_how_far_it_is(stores: Stores) -> None:
    stores.log.append(CONTENT_EVENTS, [b"key"] * 4, [b"{}"] * 4)
    frame = account(stores)
    assert frame["balanced"].all()
    assert frame.group_by("group").agg(pl.col("lag").sum()).sort("group").rows() == [("live", 4), ("raw", 4)]


def test_gaps_name_what_is_not_archived_and_not_sealed(stores: Stores, reference: Any) -> None:
    def kinds(later: timedelta = HOUR) -> dict[str, int]:
        now = datetime.now(UTC) + later
        found = gaps(stores.log, stores.raw, stores.clickhouse, stores.archive, now=now)
        return dict(found.group_by("kind").agg(pl.col("rows").sum()).iter_rows())

    assert kinds() == {"not_archived": KEPT + REFUSED}
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    ranges = [
        PositionRange(topic, partition, 0, high)
        for topic in TOPICS
        for partition, (_, high) in stores.log.watermarks(topic).items()
        if high
    ]
    part = stores.archive.write_part(hour, pl.concat(stores.raw.read_events(ranges)), ranges)
    rows = [(part.path, hour, at, network, n, "x") for (at, network), n in part.contents.items()]
    columns = ["path", "ingest_hour", "event_hour", "network", "rows", "sha256"]
    stores.clickhouse.insert("archive_contents", rows, column_names=columns)
    first_hour = sum(n for (at, _), n in part.contents.items() if at == START)
    assert kinds() == {"unsealed": first_hour}  # the second hour may still grow
    reference.seal(stores.clickhouse, [START, START + HOUR], ["alpha", "beta"], START + 5 * HOUR)
    assert kinds() == {}
    late = [("late.parquet", hour, START, "alpha", 2, "x")]
    stores.clickhouse.insert("archive_contents", late, column_names=columns)
    assert kinds() == {"outdated": 2}
    assert kinds(timedelta()) == {"on_its_way": 2}  # it seals itself


def test_verify_tells_late_from_different(stores: Stores, reference: Any) -> None:
    client = stores.clickhouse
    reference.seal(client, [START, START + HOUR], ["alpha", "beta"], START + 5 * HOUR)

    def verdicts() -> dict[tuple[datetime, str], str]:
        return {(row["bucket"], row["network"]): row["verdict"] for row in verify(client).to_dicts()}

    assert set(verdicts().values()) == {"equal"}
    assert len(verdicts()) == 4
    assert differences(client).is_empty()
    assert totals(client, stores.log, stores.raw) == {
        "raw": KEPT - 3, "live": KEPT - 3, "archived": 0, "slices": KEPT - 3, "hours": KEPT - 3,
    }  # fmt: skip
    more = reference.make_events(seed=77, count=9, start=START, end=START + HOUR, networks=["beta"])
    reference.insert_events(client, more)
    assert verdicts()[START, "beta"] == "late"
    client.command(
        "ALTER TABLE engagement_hourly_builds DELETE WHERE network = 'alpha' AND dimension = 'topic' "
        "AND member = 'news' AND bucket = {at:DateTime('UTC')} SETTINGS mutations_sync = 2",
        {"at": START},
    )
    assert verdicts() == {
        (START, "alpha"): "different", (START, "beta"): "late",
        (START + HOUR, "alpha"): "equal", (START + HOUR, "beta"): "equal",
    }  # fmt: skip
    rows = differences(client, START, START + HOUR, ["alpha"])
    assert set(rows["member"]) == {"news"}
    assert set(rows["sealed_events"]) == {0}
