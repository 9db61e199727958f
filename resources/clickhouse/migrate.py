"""Bring a ClickHouse database to this release's shape: base tables, live views, reader views.

Belongs here: what exists and in which order it is made. Does not belong here: rows. Running it again changes nothing.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from clickhouse_connect.driver.client import Client

from contracts.trend_boards import MENTION_TYPES
from resources.clickhouse.client import open_clickhouse, wait_until_ready
from resources.clickhouse.cluster import cluster_name, on_cluster
from resources.clickhouse.sql import render, schema_statements
from resources.crashpoints import crashpoint

SCHEMA_VERSION = 1

# dataset → (table of builds, SQL of the bucket its seals are kept by)
PUBLISHED = {
    "connector_slices": ("connector_slices_builds", "toStartOfHour(event_time)"),
    "engagement_hourly": ("engagement_hourly_builds", "bucket"),
    "engagement_daily": ("engagement_daily_builds", "bucket"),
    "sessions": ("sessions_builds", "bucket"),
}


class SchemaVersionError(Exception):
    """The database was made by a newer release; nothing was changed."""


def statements(cluster: str = "") -> list[str]:
    """Every statement of the schema, each idempotent, in an order in which they can run; for a cluster where named."""
    minute = render("engagement_rollup", source="events", bucket="toStartOfMinute(event_time)")
    hour = render("engagement_merge", source="live_engagement_minute", bucket="toStartOfHour(bucket)")
    of_sessions = render("session_event_rows", source="events", more=", log_topic, log_partition, log_offset")
    panes = render("topic_panes", source="events", types=MENTION_TYPES)
    live = [
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS live_engagement_minute_mv TO live_engagement_minute AS {minute}",
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS live_engagement_hour_mv TO live_engagement_hour AS {hour}",
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS session_events_mv TO session_events AS {of_sessions}",
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS live_topic_panes_mv TO live_topic_panes AS {panes}",
    ]
    readers = [
        f"CREATE OR REPLACE VIEW {dataset} AS {render('published_rows', dataset=dataset, table=table, bucket=bucket)}"
        for dataset, (table, bucket) in PUBLISHED.items()
    ]
    facts = f"CREATE OR REPLACE VIEW facts AS {render('published_facts')}"
    credits = f"CREATE OR REPLACE VIEW ad_credits AS {render('published_ad_credits')}"
    readings = f"CREATE OR REPLACE VIEW follower_readings AS {render('follower_readings')}"
    everything = [*schema_statements(replicated=bool(cluster)), *live, *readers, facts, credits, readings]
    return on_cluster(everything, cluster) if cluster else everything


def migrate(url: str) -> list[str]:
    """Create the database of the URL when missing and run all statements; returns the names of tables and views.

    Raises SchemaVersionError when a newer release made the database.
    """
    database = urlsplit(url).path.strip("/") or "default"
    if not re.fullmatch(r"\w+", database):
        raise ValueError(f"database name {database!r} is not made of letters, digits and underscores")
    server = wait_until_ready(url)
    server.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    server.close()
    client = open_clickhouse(url)
    try:
        return migrate_client(client)
    finally:
        client.close()


def migrate_client(client: Client) -> list[str]:
    """As `migrate`, in the client's own database."""
    client.command("CREATE TABLE IF NOT EXISTS schema_version (version UInt32, applied_at DateTime DEFAULT now())"
                   " ENGINE = MergeTree ORDER BY version")  # fmt: skip
    found = int(client.query("SELECT max(version) FROM schema_version").result_rows[0][0])
    if found > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"database {client.database} has schema version {found}, this release knows {SCHEMA_VERSION}: "
            "install the release that made it, or name another database"
        )
    for statement in statements(cluster_name()):
        client.command(statement)
        crashpoint("migrate.between_statements")
    if found < SCHEMA_VERSION:
        client.insert("schema_version", [[SCHEMA_VERSION]], column_names=["version"])
    return [str(row[0]) for row in client.query("SHOW TABLES").result_rows]
