"""Migration: a database gets its shape once, and again costs nothing."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from resources.clickhouse.migrate import migrate_client

SHAPE = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"


def test_migrating_twice_changes_nothing(clickhouse: Client) -> None:
    before = clickhouse.query(SHAPE).result_rows
    migrate_client(clickhouse)
    assert clickhouse.query(SHAPE).result_rows == before
