"""The same tables on a ClickHouse cluster: replicated on every shard, spread over shards, read under their own names.

Belongs here: rewriting our own DDL, and naming what a mutation must address. Does not belong here: the tables
(`schema.sql`), the views (`migrate`).

On a cluster a table `t` is two: `t_shard`, a Replicated table on every shard, and `t`, a Distributed table over them
that everybody reads and inserts into. Materialized views stay on the shard: they see the blocks of its `events_shard`.
A row goes to the shard of its ORDER BY key, so that rows that replace or merge with one another are on one shard.
Inserts must be synchronous (`distributed_foreground_insert = 1`) so that an answer means stored, and subqueries on
Distributed tables global (`distributed_product_mode = 'global'`): the user's profile sets both.
"""

from __future__ import annotations

import os
import re

CLUSTER = "TALLY_CLICKHOUSE_CLUSTER"

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)( AS (\w+))?")
_VIEW = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+) AS")
_ORDER = re.compile(r"^ORDER BY (\(.*\)|\w+)", re.MULTILINE)


def cluster_name() -> str:
    """The cluster that the settings name; '' for a single server. Raises ValueError for what is no name."""
    name = os.environ.get(CLUSTER, "")
    if name and not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"{CLUSTER}={name!r} is not made of letters, digits, underscores and hyphens")
    return name


def changeable(table: str) -> str:
    """What ALTER … DELETE and DELETE FROM address: the table, or on a cluster its shards."""
    cluster = cluster_name()
    return f"{table}_shard ON CLUSTER `{cluster}`" if cluster else table


def on_cluster(statements: list[str], cluster: str) -> list[str]:
    """Rewrite the schema's statements (their engines are Replicated ones already) for a cluster."""
    orders: dict[str, str] = {}
    rewritten = []
    for statement in statements:
        if found := _TABLE.match(statement):
            name, like = found[1], found[3]
            order = _ORDER.search(statement)
            orders[name] = orders[like] if like else order[1] if order else "tuple()"
            rest = statement[found.end() :]
            head = f"CREATE TABLE IF NOT EXISTS {name}_shard ON CLUSTER `{cluster}`"
            rewritten.append(f"{head} AS {like}_shard{rest}" if like else head + rest)
            key = f"cityHash64({_flat(orders[name])})"
            rewritten.append(
                f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER `{cluster}` AS {name}_shard"
                f" ENGINE = Distributed('{cluster}', currentDatabase(), '{name}_shard', {key})"
            )
        elif found := _VIEW.match(statement):
            select = statement[found.end() :]
            for table in orders:
                select = re.sub(rf"(FROM\s+\(?\s*){table}\b", rf"\g<1>{table}_shard", select)
            head = f"CREATE MATERIALIZED VIEW IF NOT EXISTS {found[1]} ON CLUSTER `{cluster}` TO {found[2]}_shard AS"
            rewritten.append(head + select)
        else:
            rewritten.append(re.sub(r"^(CREATE OR REPLACE VIEW \w+)", rf"\1 ON CLUSTER `{cluster}`", statement))
    return rewritten


def _flat(order: str) -> str:
    return order[1:-1] if order.startswith("(") else order
