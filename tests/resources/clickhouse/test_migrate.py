"""Migration: a database gets its shape once; again costs nothing; a newer one is left alone."""

from __future__ import annotations

import re

import pytest
from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
from resources.clickhouse.cluster import changeable
from resources.clickhouse.migrate import SCHEMA_VERSION, SchemaVersionError, migrate, migrate_client, statements

SHAPE = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"


def test_migrating_twice_changes_nothing(clickhouse: Client) -> None:
    before = clickhouse.query(SHAPE).result_rows
    migrate_client(clickhouse)
    assert clickhouse.query(SHAPE).result_rows == before


def test_a_missing_database_is_made_with_tables_views_and_readers(clickhouse_url: str) -> None:
    names = set(migrate(clickhouse_url))
    assert {"events", "seals", "live_engagement_minute_mv", "live_engagement_hour_mv"} <= names
    assert {"connector_slices", "engagement_hourly", "engagement_daily"} <= names


def test_a_database_of_a_newer_release_is_refused_untouched(clickhouse: Client) -> None:
    clickhouse.command("DROP VIEW engagement_daily")
    clickhouse.insert("schema_version", [[SCHEMA_VERSION + 1]], column_names=["version"])
    with pytest.raises(SchemaVersionError, match=str(SCHEMA_VERSION + 1)):
        migrate_client(clickhouse)
    assert "engagement_daily" not in [row[0] for row in clickhouse.query("SHOW TABLES").result_rows]


def test_a_database_name_that_could_be_sql_is_refused(clickhouse_server: str) -> None:
    with pytest.raises(ValueError, match="DROP"):
        migrate(f"{clickhouse_server}/x;DROP TABLE y")
    with open_clickhouse(f"{clickhouse_server}/default") as client:
        assert client.command("SELECT 1") == 1


def test_on_a_cluster_the_same_tables_are_replicated_and_distributed(clickhouse: Client) -> None:
    """As far as one server can show it: every statement is parsed by the engine, and no table is left out."""
    texts = statements("main")
    tables = [row[0] for row in clickhouse.query("SHOW TABLES").result_rows if row[0] != "schema_version"]
    for text in texts:
        clickhouse.command(f"EXPLAIN AST {text}")
        assert "ON CLUSTER `main`" in text
    engines = [line for text in texts for line in text.splitlines() if line.startswith("ENGINE")]
    assert all("Replicated" in line for line in engines)
    for table in tables:
        assert [text for text in texts if re.search(rf"\b{table}\b(?!_shard)", text.split(" AS ")[0])], table
    distributed = {text.split()[5] for text in texts if "Distributed(" in text}
    views = [text for text in texts if text.startswith("CREATE MATERIALIZED VIEW")]
    assert len(views) == len([t for t in tables if t.endswith("_mv")])
    for text in views:
        assert re.search(r" TO \w+_shard AS", text)
        for table in distributed:
            assert not re.search(rf"FROM\s+{table}\b", text), "a view must see its own shard's blocks only"


def test_rows_that_replace_one_another_are_on_one_shard() -> None:
    keys = {text.split()[5]: text for text in statements("main") if "Distributed(" in text}
    assert "cityHash64(log_topic, log_partition, log_offset)" in keys["live_rejects"]
    assert "cityHash64(workspace, dimension, network, bucket, type, member)" in keys["live_engagement_hour"]


def test_what_is_changed_on_a_cluster_is_its_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changeable("seals") == "seals"
    monkeypatch.setenv("TALLY_CLICKHOUSE_CLUSTER", "main")
    assert changeable("seals") == "seals_shard ON CLUSTER `main`"
    monkeypatch.setenv("TALLY_CLICKHOUSE_CLUSTER", "main` DROP")
    with pytest.raises(ValueError, match="DROP"):
        changeable("seals")
