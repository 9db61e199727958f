"""Migration: a database gets its shape once; again costs nothing; a newer one is left alone."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
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


def test_on_a_cluster_every_table_is_replicated() -> None:
    engines = [line for text in statements(replicated=True) for line in text.splitlines() if line.startswith("ENGINE")]
    assert engines
    assert all("Replicated" in line for line in engines)
