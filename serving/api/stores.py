"""The stores behind the API, opened when they are first needed, asked by few threads.

Belongs here: opening, time limits, the queue of questions, a store's errors as "later". Does not belong here: what is
asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError

from resources.cache import Cache, open_cache
from resources.clickhouse import ClickHouseUnavailableError, Client, open_clickhouse
from resources.clickhouse.client import is_transient
from serving.api.problems import ProblemError

THREADS = 4
"""Questions that are asked at once: more would only wait inside the store."""
MOST_WAITING = 256
SECONDS = 20
"""A question that takes the store longer is given up."""

_RETRY_AFTER = 2
T = TypeVar("T")


class Stores:
    """ClickHouse and the cache. Making it connects to nothing; a store that was away is tried again when asked."""

    def __init__(self, clickhouse_url: str, cache_url: str, open_client: Callable[[str], Client] | None = None) -> None:
        self._url = clickhouse_url
        self._open = open_client or _open_limited
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "store")
        self._waiting = 0
        self.cache: Cache = open_cache(cache_url)

    def client(self) -> Client:
        """The one client, which threads share. Raises ClickHouseUnavailableError."""
        with self._lock:
            if self._client is None:
                self._client = self._open(self._url)
            return self._client

    async def ask(self, question: Callable[[Client], T]) -> T:
        """Run a question to ClickHouse in a thread. Raises ProblemError: `busy` or `unavailable`."""
        return await self.run(lambda: question(self.client()))

    async def run(self, work: Callable[[], T]) -> T:
        """The same for work that may need no ClickHouse."""
        if self._waiting >= MOST_WAITING:
            raise ProblemError("busy", f"{self._waiting} questions wait already", retry_after=_RETRY_AFTER)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        finally:
            self._waiting -= 1

    def _run(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (ClickHouseError, ClickHouseUnavailableError, OSError) as error:
            if is_transient(error):
                raise ProblemError(
                    "unavailable", "ClickHouse does not answer, or not in time", retry_after=_RETRY_AFTER
                ) from error
            raise

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()
        self.cache.close()


def _open_limited(url: str) -> Client:
    # Whatever reaches the store from here may read and nothing else.
    return open_clickhouse(url, settings={"max_execution_time": SECONDS, "readonly": 2})
