"""ClickHouse over HTTP, the only way it is spoken to: a server, a cluster, or the local process over chdb.

Belongs here: opening a client (`client`), moving frames both ways (`frames`), rendering the SQL of dbt_project (`sql`),
base schema and live views (`migrate`, schema.sql). Does not belong here: what a metric means, and starting an engine
(deploy.local).
"""

from clickhouse_connect.driver.client import Client

from resources.clickhouse.client import (
    ClickHouseUnavailableError,
    is_transient,
    log_comment,
    open_clickhouse,
    wait_until_ready,
)
from resources.clickhouse.frames import insert_frame, query_frame

__all__ = [
    "ClickHouseUnavailableError",
    "Client",
    "insert_frame",
    "is_transient",
    "log_comment",
    "open_clickhouse",
    "query_frame",
    "wait_until_ready",
]
