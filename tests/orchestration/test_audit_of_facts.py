"""A fact, session or credit that somebody changed after it was published is found, named and put right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.publishing.maintenance import purge_unpublished
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from contracts.envelope import EVENT_SCHEMA
from orchestration.auditing import audit_stores
from orchestration.repair.sealed import repair_sealed
from resources.clickhouse import query_frame
from serving.audit.engine import AuditScope, audit

FIRST = datetime(2026, 3, 4, tzinfo=UTC)
SYNC = "SETTINGS mutations_sync = 2"
PLANTS = {
    "ads": ("facts_builds", "UPDATE value = value + 1 WHERE dataset = 'ads' AND measure = 'credit_linear'"),
    "sessions": ("sessions_builds", "UPDATE engaged = NOT engaged WHERE steps > 0"),
    "ad_returns": ("facts_builds", "DELETE WHERE dataset = 'ad_returns'"),
}
HELD = (
    "SELECT dataset, bucket, toString(workspace) AS workspace, network, dimension, member, measure, value FROM facts"
    " ORDER BY ALL"
)


@pytest.fixture
def sealed(platform: Any, make_events: Any) -> Any:
    events = make_events(8, 600, FIRST, FIRST + timedelta(hours=20)).with_columns(
        pl.when(pl.col("type").str.starts_with("ad."))
        .then(pl.lit('{"amount_minor": 250, "currency": "USD"}'))
        .otherwise("properties")
        .alias("properties")
    )
    # one more event, two days on: what came before it is complete
    last = make_events(9, 1, FIRST + timedelta(days=2), FIRST + timedelta(days=2, hours=1))
    platform.send(pl.concat([events, last], rechunk=True).select(list(EVENT_SCHEMA)), at=FIRST + timedelta(days=3))
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    request = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert not seal_range(stores, request, "test-run", lambda _text: None).failed
    return platform


def findings(platform: Any) -> pl.DataFrame:
    stores = audit_stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    return audit(stores, AuditScope(stores=["sealed rollups", "seals"]), pause=0.0).findings


def test_what_was_changed_by_hand_is_named_and_repaired_with_restatements(sealed: Any) -> None:
    client = sealed.clickhouse
    assert findings(sealed).is_empty()
    before = query_frame(client, HELD)
    assert before["dataset"].n_unique() >= 3
    for dataset, (table, change) in PLANTS.items():
        client.command(f"ALTER TABLE {table} {change} {SYNC}")
        found = findings(sealed)
        assert found.select("store", "place").unique().rows() == [("sealed rollups", dataset)]
        assert set(found["columns"]) == {f"rows of {table}"}
        assert set(found["bucket"].dt.date()) <= {FIRST.date(), (FIRST + timedelta(days=2)).date()}
        assert (found["expected"] != found["found"]).all()

        stores = audit_stores(sealed.log, sealed.raw_store, sealed.archive, client)
        assert repair_sealed(stores, found) == found.select("bucket", "network").n_unique()

        assert findings(sealed).is_empty(), dataset
        assert query_frame(client, HELD).equals(before)
        told = "SELECT count() AS n FROM restatements WHERE cause = 'repair' AND dataset = {dataset:String}"
        assert query_frame(client, told, {"dataset": dataset})["n"].item() > 0 or table == "sessions_builds"


def test_clearing_away_unpublished_builds_leaves_nothing_to_find(sealed: Any) -> None:
    purge_unpublished(sealed.clickhouse, timedelta(0))
    assert findings(sealed).is_empty()
