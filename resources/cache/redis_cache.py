"""The cache in Redis.

Belongs here: keys, JSON, time to live, boards, Redis's errors in our terms. Does not belong here: what is cached.

Keys are `tally:<namespace>:<data version>:<key>`. The data version names the data an answer was computed from (the last
seal, for example): when the data change, so does the version, and old answers are simply never asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_BOARD_STEP = 1_000


class CacheError(Exception):
    """The cache refused; the message names the cache and the cause."""


class CacheUnavailableError(CacheError):
    """The cache does not answer, or is full. Callers go on without it: compute the answer, or show none."""


class Cache:
    """One Redis database. Thread-safe. Every method raises CacheUnavailableError within about `timeout_s` seconds."""

    def __init__(self, url: str, timeout_s: float = 0.5) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise CacheError(f"no cache for URL scheme {parts.scheme!r}: use redis://host:port/db")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without the password
        # One more try at once, because an idle connection may have been closed by the server; no waiting beyond that.
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),
        )

    def get_json(self, namespace: str, data_version: str, key: str) -> object | None:
        """The value put under these three names, or None: never put, expired, evicted, or not JSON any more."""
        with self._errors():
            found = self._redis.get(_key(namespace, data_version, key))
        if not isinstance(found, bytes):
            return None
        try:
            value: object = orjson.loads(found)
        except orjson.JSONDecodeError:
            return None
        return value

    def set_json(self, namespace: str, data_version: str, key: str, value: object, ttl: timedelta) -> None:
        """Put a value for `ttl` (at least a millisecond). NaN and infinities become null.

        Raises CacheError for a value that JSON cannot carry.
        """
        try:
            data = orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            raise CacheError(f"cache {self.url}: {namespace}/{key} is not JSON: {error}") from error
        with self._errors():
            self._redis.set(_key(namespace, data_version, key), data, px=_milliseconds(ttl))

    def replace_board(self, name: str, scores: Mapping[str, float], ttl: timedelta) -> None:
        """Put a whole board (member -> score) in place of the one before, in one step; no scores remove it.

        Readers see the old board or the new one, never a mixture. After `ttl` without a new one it is gone: an old
        board is worse than none. Raises CacheError for a score that is not a number.
        """
        bad = [member for member, score in scores.items() if math.isnan(score)]
        if bad:
            raise CacheError(f"cache {self.url}: board {name}: the score of {bad[0]!r} is not a number")
        key = _board_key(name)
        members = list(scores.items())
        with self._errors():
            if not members:
                self._redis.delete(key)
                return
            building = f"{key}:building:{uuid4().hex}"
            pipeline = self._redis.pipeline(transaction=True)
            for start in range(0, len(members), _BOARD_STEP):
                pipeline.zadd(building, dict(members[start : start + _BOARD_STEP]))
            pipeline.pexpire(building, _milliseconds(ttl))
            pipeline.rename(building, key)
            pipeline.execute()

    def board(self, name: str, limit: int = 10) -> list[tuple[str, float]]:
        """The `limit` highest members and their scores, highest first; equal scores by member, descending."""
        if limit < 1:
            return []
        with self._errors():
            found: Any = self._redis.zrange(_board_key(name), 0, limit - 1, desc=True, withscores=True)
        return [(member.decode(), float(score)) for member, score in found]

    def ping(self) -> None:
        """Raise CacheUnavailableError when the cache does not answer."""
        with self._errors():
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError) as error:
            raise CacheUnavailableError(f"cache {self.url}: {error}") from error
        except redis.RedisError as error:
            raise CacheError(f"cache {self.url}: {error}") from error


def _key(namespace: str, data_version: str, key: str) -> str:
    return f"tally:{_escaped(namespace)}:{_escaped(data_version)}:{key}"


def _board_key(name: str) -> str:
    return f"tally:board:{name}"


def _escaped(part: str) -> str:
    """Without colons, so that no two triples share a key."""
    return part.replace("%", "%25").replace(":", "%3A")


def _milliseconds(ttl: timedelta) -> int:
    return max(1, round(ttl / timedelta(milliseconds=1)))
