"""The partition grid of ingest hours, and the way between a partition key and an hour, a day and a network.

Belongs here: grids and keys without networks. Does not belong here: the grids with networks (`assets.networks`), when a
partition runs (`orchestration.schedules`).

Every grid is UTC. The last partition is the current one (`end_offset=1`), so that it can be refreshed while it fills.
Grids start where routine operation starts, so that the UI draws at most about 100,000 squares per asset, the number
Dagster recommends. Events of any older time are kept, sealed and queried all the same: the job `seal` takes any range
and any network, and reports hours outside the grid as numbers instead of squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOUR_FORMAT = "%Y-%m-%d-%H:%M"
DAY_FORMAT = "%Y-%m-%d"

GRID_START = datetime(2026, 1, 1, tzinfo=UTC)
"""First hour and day that is drawn as a partition."""

INGEST_HOURS = dg.HourlyPartitionsDefinition(start_date=GRID_START.strftime(HOUR_FORMAT), end_offset=1)
SCOPE_SCHEMA = {"bucket": pl.Datetime("ms", "UTC"), "network": pl.String()}
"""Columns of a scope: which (bucket, network) pairs a build is about."""


def hour_start(at: datetime) -> datetime:
    """The UTC hour that holds `at`."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_start(at: datetime) -> datetime:
    """The UTC day that holds `at`."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def ingest_hour_key(hour: datetime) -> str:
    return hour.astimezone(UTC).strftime(HOUR_FORMAT)


def parse_hour(key: str) -> datetime:
    """The start of the hour that a key of an hourly grid names. Raises ValueError for any other text."""
    return datetime.strptime(key, HOUR_FORMAT).replace(tzinfo=UTC)


def event_hour_key(hour: datetime, network: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"hour": hour.astimezone(UTC).strftime(HOUR_FORMAT), "network": network})


def event_day_key(day: datetime, network: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"day": day.astimezone(UTC).strftime(DAY_FORMAT), "network": network})


def scope_of_keys(keys: Iterable[str]) -> pl.DataFrame:
    """The scope that keys of the hour × network or day × network grid name."""
    pairs = []
    for key in keys:
        bucket, network = str(key).split("|", 1)
        layout = HOUR_FORMAT if len(bucket) > len("2026-01-01") else DAY_FORMAT
        pairs.append((datetime.strptime(bucket, layout).replace(tzinfo=UTC), network))
    return pl.DataFrame(pairs, schema=SCOPE_SCHEMA, orient="row")


def scope(buckets: Sequence[datetime], networks: Sequence[str]) -> pl.DataFrame:
    """Every bucket with every network."""
    return pl.DataFrame([(b, n) for b in buckets for n in networks], schema=SCOPE_SCHEMA, orient="row")
