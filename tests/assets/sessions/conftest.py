"""What readers see of sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from analytics.sessions import IDENTITY, SESSION_SCHEMA
from resources.clickhouse import Client, query_frame


@pytest.fixture
def sealed_sessions(clickhouse: Client) -> Callable[[], list[dict[str, Any]]]:
    """Published sessions as dictionaries, by identity and start."""

    def read(table: str = "sessions") -> list[dict[str, Any]]:
        columns = ", ".join(f"toString({n}) AS {n}" if n.endswith("_id") else n for n in SESSION_SCHEMA)
        found = query_frame(clickhouse, f"SELECT {columns} FROM {table}")
        found = found.select(pl.col(name).cast(dtype) for name, dtype in SESSION_SCHEMA.items())
        return found.sort(*IDENTITY, "started_at").to_dicts()

    return read
