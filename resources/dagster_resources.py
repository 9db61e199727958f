"""The stores as Dagster resources: a URL in configuration, a plain client in the hand of the asset.

Belongs here: one resource per store, `open()` and nothing else. Does not belong here: work with a store (assets).
A URL may carry a password: resources are configured with `EnvVar` or from settings in the process that runs, and the
UI shows what `shown` returns, never the URL.
"""

from __future__ import annotations

import re

import dagster as dg
from pydantic import Field

from resources.archive import Archive, open_archive
from resources.clickhouse import Client, log_comment, open_clickhouse
from resources.event_log import EventLog, open_event_log
from resources.raw_store import RawStore, open_raw_store


class _Store(dg.ConfigurableResource[None]):
    url: str = Field(description="Where the store is")

    @property
    def shown(self) -> str:
        """The URL without its password, for messages and metadata."""
        return re.sub(r"(//[^:/@]*):[^@/]*@", r"\1:***@", self.url)


class EventLogResource(_Store):
    """`kafka://host:port[,host:port]` or `sqlite:///path`."""

    def open(self) -> EventLog:
        return open_event_log(self.url)


class RawStoreResource(_Store):
    """`mongodb://host/database` or `sqlite:///path`."""

    def open(self) -> RawStore:
        return open_raw_store(self.url)


class ArchiveResource(_Store):
    """`s3://bucket/prefix` or `file:///path`."""

    def open(self) -> Archive:
        return open_archive(self.url)


class ClickHouseResource(_Store):
    """`http[s]://[user[:password]@]host:port/database`."""

    def open(self, **who: str) -> Client:
        """A client; `who` (run, asset, partition) stamps every statement's `log_comment`."""
        return open_clickhouse(self.url, settings=log_comment(**who) if who else None)
