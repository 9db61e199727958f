"""The stores as Dagster resources: each holds a URL and opens the plain client that the rest of the code uses.

Belongs here: configuration and descriptions for Dagster's UI. Does not belong here: any behaviour of a store.

Give a URL that carries a password as `EnvVar("TALLY_…_URL")`: Dagster then shows the variable's name only. `open()`
gives a client of the caller's own, to be closed by it: `with closing(raw_store.open()) as store`. Long-running
processes outside Dagster import nothing from here: they call `open_*` themselves.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

if TYPE_CHECKING:
    from resources.archive import Archive
    from resources.cache import Cache
    from resources.clickhouse import Client
    from resources.event_log import EventLog
    from resources.raw_store import RawStore

_BY_VARIABLE = " May carry a password: give it as an environment variable."


class EventLogResource(ConfigurableResource["EventLog"]):
    """The event log: partitioned, append-only, replayable."""

    url: str = Field(
        repr=False,
        description="Where events are durable first: `sqlite:///path/event_log.db` or `kafka://host:9092`.",
        examples=["sqlite:///data/event_log.db", "kafka://broker:9092"],
    )

    def open(self) -> EventLog:
        """A client of this log. Raises EventLogError for a wrong URL, LogUnavailableError if it is down."""
        from resources.event_log import open_event_log

        return open_event_log(self.url)


class RawStoreResource(ConfigurableResource["RawStore"]):
    """The raw store: every event once, every refused row, one verdict per log position."""

    url: str = Field(
        repr=False,
        description="Where every event is kept: `sqlite:///path/raw_store.db` or `mongodb://host/database`."
        + _BY_VARIABLE,
        examples=["sqlite:///data/raw_store.db", "mongodb://mongo/tally"],
    )

    def open(self) -> RawStore:
        """A client of this store; it connects when first used. Raises RawStoreError for a wrong URL."""
        from resources.raw_store import open_raw_store

        return open_raw_store(self.url)


class ArchiveResource(ConfigurableResource["Archive"]):
    """The archive: Parquet parts of the raw events by ingest hour, each with a manifest that proves it."""

    url: str = Field(
        description="Where Parquet parts go: `file:///folder` or `s3://bucket/prefix` (keys from `AWS_*` variables).",
        examples=["file:///srv/tally/archive", "s3://tally/archive"],
    )

    def open(self) -> Archive:
        """The process's client of this archive: it remembers manifests and holds nothing that needs closing.

        Raises ArchiveError for a wrong URL.
        """
        return _archive(self.url, os.getpid())


class ClickHouseResource(ConfigurableResource["Client"]):
    """ClickHouse: live tables, views, sealed aggregates."""

    url: str = Field(
        repr=False,
        description="ClickHouse over HTTP: `http://host:8123/database`, a server or the local process." + _BY_VARIABLE,
        examples=["http://127.0.0.1:8123/tally"],
    )

    def open(self) -> Client:
        """A client. Raises ClickHouseUnavailableError when nothing answers, ValueError for a wrong URL."""
        from resources.clickhouse import open_clickhouse

        return open_clickhouse(self.url)


class CacheResource(ConfigurableResource["Cache"]):
    """The cache: computed answers and boards that may vanish at any time."""

    url: str = Field(
        repr=False,
        description="Redis: `redis://host:6379/0`, `rediss://…` or `unix:///path`." + _BY_VARIABLE,
        examples=["redis://127.0.0.1:6379/0"],
    )

    def open(self) -> Cache:
        """A client of this cache; it connects when first used. Raises CacheError for a wrong URL."""
        from resources.cache import open_cache

        return open_cache(self.url)


@cache
def _archive(url: str, _process: int) -> Archive:
    """One per process; a forked child gets its own."""
    from resources.archive import open_archive

    return open_archive(url)
