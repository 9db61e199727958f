"""A single row lost, doubled or changed by hand in any one store is named, repaired by one command, and then gone."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from contracts.event_types import TOPICS
from orchestration.auditing import decode
from orchestration.cli.app import app
from orchestration.settings import Settings
from orchestration.stack.stores import event_log
from resources.archive import ArchivePart, open_archive
from resources.clickhouse import open_clickhouse
from resources.event_log.base import OffsetRange

runner = CliRunner()
SYNC = "SETTINGS mutations_sync = 1"


def tally(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written while these tests audit, except where one says so."""
    monkeypatch.setattr("serving.audit.engine.PAUSE", 0.0)


@pytest.fixture
def sealed(stores: Settings, workers: Any, day: Path) -> Settings:
    """300 events, ten duplicates, two refused rows, everything archived and sealed."""
    tally("ingest", str(day), "--network", "tally", "--no-wait")
    workers()
    tally("seal", "--from", "2026-01-01")
    return stores


@pytest.fixture
def client(sealed: Settings) -> Client:
    return open_clickhouse(sealed.clickhouse_url)


def victim(client: Client) -> dict[str, Any]:
    """A stored event that no other row repeats, with its place."""
    names = ("workspace", "event_id", "log_topic", "log_partition", "log_offset")
    columns = ", ".join(f"toString({name})" for name in names)
    row = client.query(f"SELECT {columns} FROM events ORDER BY event_id DESC LIMIT 1").result_rows[0]
    found: dict[str, Any] = dict(zip(names, row, strict=True))
    return found | {name: int(found[name]) for name in ("log_partition", "log_offset")}


def raw(settings: Settings, statement: str, *values: object) -> None:
    with sqlite3.connect(settings.home / "raw_store.db") as database:
        assert database.execute(statement, values).rowcount > 0, statement
    database.close()


def test_a_healthy_platform_has_no_finding(sealed: Settings) -> None:
    found = tally("audit")
    assert found["clean"] is True
    assert found["findings"] == []
    assert found["positions"] == 312
    assert {store: part["rows"] for store, part in found["stores"].items() if store != "ClickHouse"} == {
        "event log": 312,
        "raw store": 312,
        "archive": 300,
        "slices": 300,
        "live rollups": 300,
        "sealed rollups": 300,
        "seals": 7,  # three hours, twice, and their day
    }


def assert_named_and_repaired(settings: Settings, **expected: object) -> dict[str, Any]:
    """The audit names what was planted; one repair puts it right, which it knows from an audit of its own."""
    found = tally("audit", code=1)
    named = [row for row in found["findings"] if all(row[name] == value for name, value in expected.items())]
    assert named, f"no finding with {expected} among {found['findings']}"
    assert tally("repair")["repaired"] is True
    first: dict[str, Any] = named[0]
    return first


RAW_PLANTS = {
    "a row is deleted": ("DELETE FROM events WHERE event_id = ?", "missing", ""),
    "an actor is changed": ("UPDATE events SET actor = 'mallory' WHERE event_id = ?", "changed", "actor"),
    "properties are changed": ("UPDATE events SET properties = '[]' WHERE event_id = ?", "changed", "properties"),
    "the row as it came is changed": ("UPDATE events SET raw = 'x' WHERE event_id = ?", "changed", "raw"),
    "a time is moved": ("UPDATE events SET event_time = event_time + 1 WHERE event_id = ?", "changed", "event_time"),
    "an id is changed": (
        "UPDATE events SET event_id = '01890000-0000-7000-8000-00000000ffff' WHERE event_id = ?",
        "changed",
        "event_id",
    ),
}


def test_in_the_raw_store(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    for statement, kind, columns in RAW_PLANTS.values():
        raw(sealed, statement, lost["event_id"])
        assert_named_and_repaired(sealed, store="raw store", kind=kind, columns=columns, **lost)
    assert tally("repair")["repaired"] is False
    assert tally("ledger")["balanced"] is True
    assert tally("verify")["ok"] is True


def test_a_row_that_is_moved_to_a_position_that_nobody_reads(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    raw(sealed, "UPDATE events SET log_offset = log_offset + 1000000 WHERE event_id = ?", lost["event_id"])
    assert_named_and_repaired(sealed, store="raw store", kind="missing", **lost)


def test_in_the_raw_store_a_stored_row_that_is_called_a_duplicate(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    raw(
        sealed,
        "INSERT INTO duplicates SELECT log_topic, log_partition, log_offset, workspace, event_id, receipt_id"
        " FROM events WHERE event_id = ?",
        lost["event_id"],
    )
    raw(sealed, "DELETE FROM events WHERE event_id = ?", lost["event_id"])
    assert tally("audit", "--store", "ClickHouse")["clean"] is True
    assert_named_and_repaired(sealed, store="raw store", kind="missing", **lost)


def test_in_the_raw_store_a_refused_row_that_is_changed(sealed: Settings) -> None:
    raw(sealed, "UPDATE quarantine SET payload = 'other' WHERE rowid = 1")
    found = assert_named_and_repaired(sealed, store="raw store", place="quarantine", kind="changed", columns="payload")
    assert found["found"] == "'other'"


CLICKHOUSE_PLANTS = {
    "a row is deleted": (f"ALTER TABLE events DELETE WHERE event_id = {{id:UUID}} {SYNC}", "events", "missing"),
    "a row is doubled": ("INSERT INTO events SELECT * FROM events WHERE event_id = {id:UUID}", "events", "doubled"),
    "an actor is changed": (
        f"ALTER TABLE events UPDATE actor = 'mallory' WHERE event_id = {{id:UUID}} {SYNC}",
        "events",
        "changed",
    ),
    "properties are changed": (
        f"ALTER TABLE events UPDATE properties = 'x' WHERE event_id = {{id:UUID}} {SYNC}",
        "events",
        "changed",
    ),
    "the index loses a row": (
        "ALTER TABLE event_positions DELETE WHERE (log_topic, log_partition, log_offset) IN"
        f" (SELECT log_topic, log_partition, log_offset FROM events WHERE event_id = {{id:UUID}}) {SYNC}",
        "event_positions",
        "missing",
    ),
}


def test_in_clickhouse(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    for statement, place, kind in CLICKHOUSE_PLANTS.values():
        client.command(statement, parameters={"id": lost["event_id"]})
        assert_named_and_repaired(sealed, store="ClickHouse", place=place, kind=kind, **lost)
    assert tally("repair")["repaired"] is False
    assert tally("ledger")["balanced"] is True
    assert tally("verify")["ok"] is True


def test_in_clickhouse_a_refused_row_that_is_deleted(sealed: Settings, client: Client) -> None:
    client.command(f"ALTER TABLE live_rejects DELETE WHERE verdict = 'quarantined' {SYNC}")
    assert_named_and_repaired(sealed, store="ClickHouse", place="live_rejects", kind="missing")


def test_a_damaged_row_is_one_finding_and_its_duplicate_is_not_wrong(sealed: Settings, client: Client) -> None:
    repeated, changed = client.query(
        "SELECT toString(event_id) FROM events ORDER BY (workspace, event_id) IN"
        " (SELECT workspace, event_id FROM live_rejects WHERE verdict = 'duplicate') DESC, event_id DESC LIMIT 1"
        " UNION ALL SELECT toString(max(event_id)) FROM events"
    ).result_columns[0]
    client.command(f"ALTER TABLE events DELETE WHERE event_id = '{repeated}' {SYNC}")
    client.command(f"ALTER TABLE events UPDATE actor = 'mallory' WHERE event_id = '{changed}' {SYNC}")
    found = tally("audit", code=1)
    assert found["damaged"] == 2
    damage = [row for row in found["findings"] if not row["follows_from"]]
    assert {(row["store"], row["place"], row["kind"], row["event_id"]) for row in damage} == {
        ("ClickHouse", "events", "missing", repeated),
        ("ClickHouse", "events", "changed", changed),
    }
    rest = [row for row in found["findings"] if row["follows_from"]]
    assert {row["store"] for row in rest} == {"live rollups"}
    told = runner.invoke(app, ["repair"])
    assert told.exit_code == 0
    assert f"repaired: 2 findings and {len(rest)} that only followed from them" in told.stdout
    assert told.stdout.count(repeated) == 1
    assert tally("audit")["clean"] is True


def test_one_deleted_and_one_doubled_do_not_cancel_out(sealed: Settings, client: Client) -> None:
    ids = [row[0] for row in client.query("SELECT toString(event_id) FROM events ORDER BY 1 DESC LIMIT 2").result_rows]
    client.command(f"ALTER TABLE events DELETE WHERE event_id = '{ids[0]}' {SYNC}")
    client.command(f"INSERT INTO events SELECT * FROM events WHERE event_id = '{ids[1]}'")
    kinds = {(row["kind"], row["event_id"]) for row in tally("audit", code=1)["findings"] if row["place"] == "events"}
    assert kinds == {("missing", ids[0]), ("doubled", ids[1])}
    assert_named_and_repaired(sealed, store="ClickHouse", kind="doubled", event_id=ids[1])


ROLLUPS = {
    "live_engagement_minute": ("live rollups", "live_engagement_minute"),
    "live_engagement_hour": ("live rollups", "live_engagement_hour"),
    "engagement_hourly_builds": ("sealed rollups", "engagement_hourly"),
}


@pytest.mark.parametrize("table", ROLLUPS)
def test_in_a_rollup(sealed: Settings, client: Client, table: str) -> None:
    store, place = ROLLUPS[table]
    for what, kind in (("lost", "missing"), ("doubled", "changed"), ("other actors", "changed")):
        damage_rollup(client, table, what)
        assert_named_and_repaired(sealed, store=store, place=place, kind=kind)


def damage_rollup(client: Client, table: str, what: str) -> None:
    """Change the first bucket's rows of a topic, so that in the last case every count stays as it was."""
    row = f"dimension = 'topic' AND bucket IN (SELECT min(bucket) FROM {table})"
    if what == "doubled":
        client.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE {row}", settings={"insert_deduplicate": 0})
    if what == "other actors":
        columns = [name for name, *_ in client.query(f"DESCRIBE {table}").result_rows]
        others = ", ".join("arrayReduce('uniqExactState', ['x'])" if name == "actors" else name for name in columns)
        client.command(f"CREATE TABLE held ENGINE = Memory AS SELECT {others} FROM {table} WHERE {row}")
    if what != "doubled":
        client.command(f"ALTER TABLE {table} DELETE WHERE {row} {SYNC}")
    if what == "other actors":
        client.command(f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM held")


SLICE_PLANTS = {
    "deleted": (f"ALTER TABLE connector_slices_builds DELETE WHERE event_id = {{id:UUID}} {SYNC}", "missing"),
    "doubled": (
        "INSERT INTO connector_slices_builds SELECT * FROM connector_slices_builds WHERE event_id = {id:UUID}",
        "doubled",
    ),
    "changed": (
        f"ALTER TABLE connector_slices_builds UPDATE properties = 'x' WHERE event_id = {{id:UUID}} {SYNC}",
        "changed",
    ),
}


def test_in_a_slice(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    for statement, kind in SLICE_PLANTS.values():
        client.command(statement, parameters={"id": lost["event_id"]})
        assert_named_and_repaired(sealed, store="slices", kind=kind, **lost)
    restated = client.query("SELECT DISTINCT cause FROM restatements").result_rows
    assert restated in ([], [("repair",)])


def test_in_the_archive(sealed: Settings) -> None:
    objects = sealed.home / "archive"
    (manifest,) = objects.rglob("*.json")
    for plant in ("object gone", "object cut", "row changed", "manifest gone", "manifest cut"):
        (part,) = open_archive(sealed.archive_url).parts()
        damage_archive(objects, part, manifest, plant)
        place = str(manifest.relative_to(objects)) if plant == "manifest cut" else part.path
        kind = "missing" if plant == "manifest gone" else "damaged"
        assert_named_and_repaired(sealed, store="archive", kind=kind, place=place)
    assert tally("repair")["repaired"] is False


def damage_archive(objects: Path, part: ArchivePart, manifest: Path, plant: str) -> None:
    damage: dict[str, Callable[[], object]] = {
        "object gone": (objects / part.path).unlink,
        "object cut": lambda: (objects / part.path).write_bytes((objects / part.path).read_bytes()[:1000]),
        "row changed": lambda: (
            pl.read_parquet(objects / part.path)
            .with_columns(actor=pl.when(pl.col("log_offset") == 0).then(pl.lit("mallory")).otherwise("actor"))
            .write_parquet(objects / part.path)
        ),
        "manifest gone": manifest.unlink,
        "manifest cut": lambda: manifest.write_bytes(manifest.read_bytes()[:100]),
    }
    damage[plant]()


def test_when_the_log_has_let_go_the_archive_is_the_witness(sealed: Settings, client: Client) -> None:
    with event_log(sealed) as log:
        assert log.maintain((int(time.time()) + 30 * 86_400) * 1000) == 312
    found = tally("audit")
    assert found["clean"] is True
    assert found["unknown"] == 0
    lost = victim(client)
    raw(sealed, "UPDATE events SET actor = 'mallory' WHERE event_id = ?", lost["event_id"])
    assert_named_and_repaired(sealed, store="raw store", kind="changed", columns="actor", **lost)
    client.command(f"ALTER TABLE events DELETE WHERE event_id = '{lost['event_id']}' {SYNC}")
    assert_named_and_repaired(sealed, store="ClickHouse", kind="missing", **lost)


LOG_PLANTS = {
    "an actor is forged": ("UPDATE log_N SET value = CAST(replace(value, :actor, 'mallory') AS BLOB)", "changed"),
    "the row as it came is forged": (
        """UPDATE log_N SET value = CAST(replace(value, '"raw":"{', '"raw":"{ ') AS BLOB)""",
        "changed",
    ),
    "a message is deleted": ("DELETE FROM log_N", "missing"),
    "a message becomes unreadable": ("UPDATE log_N SET value = x'00ff'", "damaged"),
}


def damage_log(settings: Settings, lost: dict[str, Any], statement: str, actor: str = "") -> None:
    with sqlite3.connect(settings.home / "event_log.db") as database:
        key = database.execute(
            "SELECT partitions.id FROM partitions JOIN topics ON topics.id = topic_id WHERE name = ? AND partition = ?",
            (lost["log_topic"], lost["log_partition"]),
        ).fetchone()[0]
        given = {"o": lost["log_offset"], "actor": actor}
        assert (
            database.execute(f"{statement} WHERE log_offset = :o".replace("log_N", f"log_{key}"), given).rowcount == 1
        ), statement
    database.close()


def everything(settings: Settings, client: Client) -> tuple[object, ...]:
    """What raw store and ClickHouse hold, and the log's messages, decoded."""
    with sqlite3.connect(settings.home / "raw_store.db") as database:
        raw_rows = [database.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in ("events",)]
    database.close()
    live = [client.query(f"SELECT * FROM {name} ORDER BY ALL").result_rows for name in ("events", "live_rejects")]
    with event_log(settings) as log:
        ends = [(topic, partition, *end) for topic in TOPICS for partition, end in log.watermarks(topic).items()]
        ranges = [OffsetRange(*where) for where in ends]
        decoded = [frame.rows() for frame in decode(list(log.read(ranges)))]
    return raw_rows, live, decoded


def test_in_the_log_the_stores_are_the_witnesses(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    actor = client.query(f"SELECT actor FROM events WHERE event_id = '{lost['event_id']}'").result_rows[0][0]
    before = everything(sealed, client)
    for statement, kind in LOG_PLANTS.values():
        damage_log(sealed, lost, statement, actor)
        found = tally("audit", code=1)
        assert {row["store"] for row in found["findings"]} == {"event log"}
        assert [(row["kind"], row["event_id"]) for row in found["findings"]] == [(kind, lost["event_id"])]
        assert tally("repair")["written"] == {"event log messages": 1}
        assert everything(sealed, client) == before
    assert tally("audit")["clean"] is True


def test_in_the_log_a_refused_row(sealed: Settings, client: Client) -> None:
    before = everything(sealed, client)
    names = "log_topic, log_partition, log_offset"
    found = client.query(f"SELECT {names} FROM live_rejects WHERE verdict = 'quarantined'").result_rows[0]
    damage_log(sealed, dict(zip(names.split(", "), found, strict=True)), LOG_PLANTS["a message is deleted"][0])
    assert tally("repair")["written"] == {"event log messages": 1}
    assert everything(sealed, client) == before


def test_where_nothing_decides_between_log_and_store_nothing_is_changed(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    for part in (sealed.home / "archive").rglob("*.*"):
        part.unlink()
    client.command(f"ALTER TABLE archive_ranges DELETE WHERE 1 {SYNC}")
    client.command(f"ALTER TABLE events DELETE WHERE event_id = '{lost['event_id']}' {SYNC}")
    damage_log(sealed, lost, LOG_PLANTS["a message is deleted"][0])
    before = everything(sealed, client)
    for command in ("audit", "repair"):
        answer = tally(command, "--store", "event log", "--store", "raw store", "--store", "ClickHouse", code=1)
        (named,) = [row for row in answer["findings"] if row["store"] == "event log"]
        assert (named["kind"], named["event_id"]) == ("missing", lost["event_id"])
        assert "event log and raw store disagree" in named["found"]
    assert everything(sealed, client) == before


def test_that_a_store_refused_a_row_is_no_excuse_when_another_holds_it(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    place = "log_topic = '{log_topic}' AND log_partition = {log_partition} AND log_offset = {log_offset}".format(**lost)
    before = everything(sealed, client)
    client.command(
        "INSERT INTO live_rejects (verdict, reason, workspace, network, event_id, receipt_id, received_at, log_topic,"
        " log_partition, log_offset) SELECT 'quarantined', 'store_refused', workspace, network, '', receipt_id,"
        f" received_at, log_topic, log_partition, log_offset FROM events WHERE {place}"
    )
    for table in ("events", "event_positions"):
        client.command(f"ALTER TABLE {table} DELETE WHERE {place} {SYNC}")
    found = assert_named_and_repaired(sealed, store="ClickHouse", kind="refused")
    assert found["log_offset"] == lost["log_offset"]
    assert len(everything(sealed, client)[1][0]) == len(before[1][0])  # type: ignore[index]  # rows of `events`


def test_in_clickhouse_the_reason_of_a_refused_row_is_changed(sealed: Settings, client: Client) -> None:
    client.command(f"ALTER TABLE live_rejects UPDATE reason = 'forged' WHERE verdict = 'quarantined' {SYNC}")
    found = assert_named_and_repaired(
        sealed, store="ClickHouse", place="live_rejects", kind="changed", columns="reason"
    )
    assert found["found"] == "'forged'"


def test_late_events_and_a_running_backlog_are_no_findings(sealed: Settings, workers: Any, tmp_path: Path) -> None:
    late = {
        "event_id": "01890000-0000-7000-8000-0000000f0000",
        "type": "post.created",
        "network": "app",
        "actor": "late",
        "occurred_at": "2026-01-05T01:30:00Z",
    }
    path = tmp_path / "late.ndjson"
    path.write_text(json.dumps(late))
    tally("ingest", str(path), "--network", "tally", "--no-wait")
    assert tally("audit")["clean"] is True  # whether the workers have taken it or not
    workers()
    assert tally("audit")["clean"] is True
    tally("seal", "--from", "2026-01-01")
    assert tally("audit")["clean"] is True


def test_the_ledger_fails_with_the_audit_and_names_what_is_wrong(sealed: Settings, client: Client) -> None:
    lost = victim(client)
    raw(sealed, "UPDATE events SET actor = 'mallory' WHERE event_id = ?", lost["event_id"])
    answer = tally("ledger", code=1)
    assert answer["balanced"] is True
    assert answer["audit"]["clean"] is False
    told = runner.invoke(app, ["ledger"]).stdout
    assert f"{lost['log_topic']}/{lost['log_partition']}@{lost['log_offset']}" in told
    assert "mallory" in told
    assert "tally repair" in told
    assert tally("ledger", "--no-audit")["balanced"] is True


def test_a_store_that_cannot_be_audited_is_named(sealed: Settings) -> None:
    assert "'mongo'" in tally("audit", "--store", "mongo", code=2)["error"]["message"]
