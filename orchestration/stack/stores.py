"""The stores of a stack: opened by their URLs, made ready for first use, asked whether they answer.

Belongs here: opening and preparing. Does not belong here: reading numbers out of them (`status`, `serving`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestration.settings import Settings

if TYPE_CHECKING:
    from resources.event_log.base import EventLog
    from resources.raw_store.base import RawStore


def prepare_stores(settings: Settings) -> None:
    """Make tables, views, topics and the raw store's schema; what exists is left alone. Safe to repeat."""
    from resources.clickhouse.migrate import migrate
    from streaming.topics import create_topics

    with event_log(settings) as log:
        create_topics(log, settings.topic_partitions, settings.retention_days)
    with raw_store(settings) as store:
        store.ensure_schema()
    migrate(settings.clickhouse_url)


@contextmanager
def event_log(settings: Settings) -> Iterator[EventLog]:
    from resources.event_log import open_event_log

    log = open_event_log(settings.event_log_url)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def raw_store(settings: Settings) -> Iterator[RawStore]:
    from resources.raw_store import open_raw_store

    store = open_raw_store(settings.raw_store_url)
    try:
        yield store
    finally:
        store.close()
