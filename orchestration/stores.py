"""The stores of the settings as Dagster resources.

Belongs here: which URL goes where. Does not belong here: opening anything.
"""

from __future__ import annotations

import os
from typing import Any

import dagster as dg

from orchestration.settings import Settings
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource


def store_resources(settings: Settings) -> dict[str, Any]:
    """`event_log`, `raw_store`, `archive`, `clickhouse` with the settings' URLs."""
    return {
        "event_log": EventLogResource(url=settings.event_log_url),
        "raw_store": RawStoreResource(url=settings.raw_store_url),
        "archive": ArchiveResource(url=settings.archive_url),
        "clickhouse": ClickHouseResource(url=settings.clickhouse_url),
    }


def environment_resources(settings: Settings) -> dict[str, Any]:
    """The same for a code location: a URL from the environment is given by name, because it may hold a password."""
    named = {}
    for name, resource in store_resources(settings).items():
        variable = f"TALLY_{name.upper()}_URL"
        named[name] = type(resource)(url=dg.EnvVar(variable)) if os.environ.get(variable) else resource
    return named
