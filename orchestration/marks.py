"""Published buckets and the squares of Dagster's grid: marks that are missing, and networks without squares.

Belongs here: comparing `seals` with what Dagster has recorded. Does not belong here: sealing, or what the grid is
(`assets.networks`).

A bucket is published without a mark when its network came into the grid later than its events, or when one run
published more buckets than it may mark. What is published is right either way; only the picture lacks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import get_args

import dagster as dg
import polars as pl

from assets.networks import NETWORKS, on_grid
from assets.partitions import GRID_START, SCOPE_SCHEMA, day_start, event_day_key, event_hour_key
from assets.publishing.seals import HOURLY, Dataset, conform
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render

_PERIOD = """bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
    AND (empty({networks:Array(String)}) OR network IN {networks:Array(String)})"""


def published(
    clickhouse: Client, dataset: Dataset, period: tuple[datetime, datetime], networks: Sequence[str] | None
) -> pl.DataFrame:
    """Return the published pairs (SCOPE_SCHEMA, `build_id`) of a period since the grid begins, newest first."""
    start, end = max(period[0], GRID_START), min(period[1], datetime.now(UTC))
    if dataset not in HOURLY:
        start = day_start(start)
    parameters = {
        "from_s": int(start.timestamp()),
        "to_s": int(end.timestamp()),
        "networks": list(networks or ()),
    }
    builds = render("published_builds", dataset=dataset, condition=_PERIOD)
    sql = f"SELECT bucket, network, toString(build_id) AS build FROM ({builds}) ORDER BY bucket DESC, network"  # noqa: S608 - rendered
    found = query_frame(clickhouse, sql, parameters).rename({"build": "build_id"})
    return conform(found, {**SCOPE_SCHEMA, "build_id": pl.String()})


def unmarked(
    clickhouse: Client,
    instance: dg.DagsterInstance,
    period: tuple[datetime, datetime],
    networks: Sequence[str] | None,
) -> Iterator[dg.AssetMaterialization]:
    """Yield a materialization for every published pair on the grid of which Dagster has no mark, newest first."""
    now = datetime.now(UTC)
    for dataset in get_args(Dataset):
        key = event_hour_key if dataset in HOURLY else event_day_key
        found = published(clickhouse, dataset, period, networks).iter_rows()
        pairs = [(bucket, network, build_id) for bucket, network, build_id in found if on_grid(bucket, network, now)]
        if not pairs:
            continue
        marked = instance.get_materialized_partitions(dg.AssetKey(dataset))
        for bucket, network, build_id in pairs:
            partition = key(bucket, network)
            if str(partition) not in marked:
                metadata = {"build_id": build_id, "sealed_by": "an earlier run"}
                yield dg.AssetMaterialization(dataset, partition=partition, metadata=metadata)


def networks_off_grid(
    clickhouse: Client, period: tuple[datetime, datetime], networks: Sequence[str] | None
) -> list[str]:
    """Return the networks with published hours of the period, but no square: no mapping here names them."""
    return sorted(set(published(clickhouse, "engagement_hourly", period, networks)["network"]) - set(NETWORKS))
