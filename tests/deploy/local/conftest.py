"""A plain HTTP client on the shared engine, in a database of the test's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture
def http(clickhouse_server: str) -> Iterator[httpx.Client]:
    """Requests go to a fresh database, named by a header."""
    name = f"http_{uuid.uuid4().hex[:12]}"
    with httpx.Client(base_url=clickhouse_server, headers={"x-clickhouse-database": name}, timeout=30) as client:
        client.post(
            "/", content=f"CREATE DATABASE {name}", headers={"x-clickhouse-database": "default"}
        ).raise_for_status()
        yield client
        client.post("/", content=f"DROP DATABASE {name}", headers={"x-clickhouse-database": "default"})
