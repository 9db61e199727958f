"""Every read of the raw store and of profiles is served by an index, and what is stored is as durable as it says.

The commands that pymongo really sends are listened to. A server that can explain (mongod, not the stand-in) is asked
as well: no plan may scan a whole collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pymongo
import pytest
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure

from contracts.envelope import POSITION_SCHEMA, REJECT_SCHEMA, SCHEMA_VERSION, STORED_SCHEMA
from deploy.servers import Server
from resources.profiles import ProfileKey, ProfileUpdate, Snapshot, open_profiles
from resources.raw_store import PositionRange, QuarantineFilter, VerdictCounts, open_raw_store

pytestmark = pytest.mark.servers

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WHERE = PositionRange("content-events", 0, 0, 1_000)


class Listener(monitoring.CommandListener):
    """Keeps reads with their filters, and the write concerns of writes."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, Mapping[str, Any], str]] = []
        self.concerns: list[Any] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = event.command
        if event.command_name == "find":
            self.reads.append((command["find"], command["filter"], event.database_name))
        elif event.command_name == "aggregate":
            match = next((stage["$match"] for stage in command["pipeline"] if "$match" in stage), {})
            self.reads.append((command["aggregate"], match, event.database_name))
        elif event.command_name in {"insert", "update", "delete"}:
            self.concerns.append(command.get("writeConcern"))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    made = Listener()
    monkeypatch.setattr(pymongo, "MongoClient", lambda *a, **k: MongoClient(*a, **k, event_listeners=[made]))
    return made


@pytest.fixture
def url(mongodb: Server, unique: Callable[[], str]) -> Iterator[str]:
    name = unique()
    yield f"{mongodb.url}/{name}"
    with MongoClient[dict[str, Any]](mongodb.url) as client:
        client.drop_database(name)


def events(count: int, start: int = 0, version: int = SCHEMA_VERSION) -> pl.DataFrame:
    rows = [
        {
            **dict.fromkeys(STORED_SCHEMA, ""),
            "workspace": "acme",
            "event_id": f"id-{start + n}",
            "topics": ["a"],
            "properties": "{}",
            "occurred_at": NOW,
            "received_at": NOW,
            "event_time": NOW,
            "schema_version": version,
            "receipt_id": "r",
            "log_topic": "content-events",
            "log_partition": 0,
            "log_offset": start + n,
        }
        for n in range(count)
    ]
    return pl.DataFrame(rows, schema=STORED_SCHEMA)


def rejects(count: int, start: int) -> pl.DataFrame:
    rows = [
        {
            **dict.fromkeys(REJECT_SCHEMA, ""),
            "reason": "not_json",
            "received_at": NOW,
            "receipt_id": "r",
            "payload": b"{",
            "log_topic": "content-events",
            "log_partition": 0,
            "log_offset": start + n,
        }
        for n in range(count)
    ]
    return pl.DataFrame(rows, schema={**REJECT_SCHEMA, **POSITION_SCHEMA})


def use_everything(url: str) -> None:
    store = open_raw_store(url)
    store.ensure_schema()
    assert store.put_events(events(50)) == VerdictCounts(50, 0, 0)
    assert store.put_events(events(50)) == VerdictCounts(50, 0, 0)
    store.put_quarantine(rejects(5, 60))
    store.verdicts([WHERE])
    store.missing_offsets(WHERE)
    list(store.read_events([WHERE]))
    store.get_event("acme", "id-3")
    store.receipt("r")
    store.receipt_rows("r")
    store.read_duplicates([WHERE])
    store.read_refused([WHERE])
    store.positions_of(events(50).select("workspace", "event_id"))
    store.forget(events(1).select(list(POSITION_SCHEMA)))
    store.quarantine(QuarantineFilter(status="open", since=NOW))
    store.quarantine(QuarantineFilter(ids=["content-events/0@61"], status=None))
    store.mark_quarantine(["content-events/0@61"], "discarded", "test")
    store.close()
    profiles = open_profiles(url)
    profiles.ensure_schema()
    key = ProfileKey("acme", "app", "ada")
    profiles.update([ProfileUpdate(key, NOW, {"followers": 1})])
    profiles.add_snapshots([Snapshot(key, NOW, {"followers": 1})])
    profiles.get(key)
    profiles.count("acme")
    profiles.snapshots(key, NOW, NOW)
    profiles.expire_snapshots(NOW)
    profiles.close()


def test_every_read_has_an_index_and_every_write_waits_for_a_majority(url: str, listener: Listener) -> None:
    use_everything(url)
    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        leading = {
            name: {index["key"][0][0] for index in database[name].index_information().values()}
            for name in database.list_collection_names()
        }
        assert len(listener.reads) > 15
        for collection, conditions, name in listener.reads:
            assert leading[collection] & conditions.keys(), f"{collection}: no index begins with one of {conditions}"
            assert name == database.name
        for collection, conditions, _ in listener.reads:
            assert "COLLSCAN" not in plan_of(database, collection, conditions)
    assert listener.concerns
    for concern in listener.concerns:
        assert (concern["w"], concern["j"]) == ("majority", True)


def plan_of(database: Any, collection: str, conditions: Mapping[str, Any]) -> str:
    """The server's plan as text; nothing where the server cannot explain."""
    try:
        return str(database[collection].find(conditions).explain()["queryPlanner"]["winningPlan"])
    except OperationFailure as error:
        if error.code != 59:  # CommandNotFound: the stand-in
            raise
        return ""


def test_versions_of_the_schema_stand_side_by_side(url: str) -> None:
    store = open_raw_store(url)
    store.ensure_schema()
    store.put_events(events(3, 0, SCHEMA_VERSION - 1))
    store.put_events(events(3, 3))
    [read] = store.read_events([WHERE])
    assert read["schema_version"].to_list() == [SCHEMA_VERSION - 1] * 3 + [SCHEMA_VERSION] * 3
    store.close()
