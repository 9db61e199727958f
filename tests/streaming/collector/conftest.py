"""A real collector behind uvicorn on a free port, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from streaming.collector.app import build_app
from streaming.collector.config import CollectorConfig, parse_write_keys


@contextmanager
def serving(config: CollectorConfig) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(build_app(config), log_config=None, access_log=False, http="httptools"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=url, headers={"X-Write-Key": "secret"}, timeout=20) as client:
            deadline = time.monotonic() + 30
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            yield client
        server.should_exit = True
        thread.join(timeout=15)
    assert not thread.is_alive(), "the collector did not stop"


@pytest.fixture
def collector(log_url: str, tmp_path: Any) -> Iterator[Callable[..., httpx.Client]]:
    """Start a collector with the given limits; returns a client that has a write key for workspace `demo`."""
    with ExitStack() as stack:

        def start(**options: Any) -> httpx.Client:
            defaults: dict[str, Any] = {
                "raw_store_url": f"sqlite:///{tmp_path}/raw.db",
                "write_keys": parse_write_keys("demo=secret,other=second"),
                "topic_partitions": 2,
            }
            return stack.enter_context(serving(CollectorConfig(log_url, **{**defaults, **options})))

        yield start
