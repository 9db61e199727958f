"""The cache of the session's redis-server, and Redis itself beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from resources.cache import Cache, open_cache


@pytest.fixture
def cache(redis_server: Any) -> Iterator[Cache]:
    opened = open_cache(redis_server.url)
    yield opened
    opened.close()


@pytest.fixture
def raw_client(redis_server: Any) -> Iterator[Any]:
    """Redis itself, to look at what is really there. Empties the database first."""
    import redis

    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    yield client
    client.close()
