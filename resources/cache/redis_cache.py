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
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_BOARD_STEP = 1_000


class CacheError(Exception):
    """The cache refused; the message names the cache and the cause."""


class CacheUnavailableError(CacheError):
    """The cache does not answer, or is full. Callers go on without it: compute the answer, or show none."""


class Board(NamedTuple):
    """Scores by member, and anything JSON can carry about the board as a whole (None: nothing)."""

    scores: Mapping[str, float]
    about: object | None


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
        self.replace_boards({name: Board(scores, None)}, ttl)

    def replace_boards(self, boards: Mapping[str, Board], ttl: timedelta) -> None:
        """As `replace_board`, for many boards and what is said about each, all in one transaction.

        A board without scores has no members, but what is said about it (not None) stays for the `ttl`.
        """
        pipeline = self._redis.pipeline(transaction=True)
        for name, board in boards.items():
            bad = [member for member, score in board.scores.items() if math.isnan(score)]
            if bad:
                raise CacheError(f"cache {self.url}: board {name}: the score of {bad[0]!r} is not a number")
            key = _board_key(name)
            pipeline.delete(key, _about_key(name))
            members = list(board.scores.items())
            for start in range(0, len(members), _BOARD_STEP):
                pipeline.zadd(key, dict(members[start : start + _BOARD_STEP]))
            if members:
                pipeline.pexpire(key, _milliseconds(ttl))
            if board.about is not None:
                pipeline.set(_about_key(name), orjson.dumps(board.about), px=_milliseconds(ttl))
        with self._errors():
            pipeline.execute()

    def board(self, name: str, limit: int = 10) -> list[tuple[str, float]]:
        """The `limit` highest members and their scores, highest first; equal scores by member, descending."""
        if limit < 1:
            return []
        with self._errors():
            found: Any = self._redis.zrange(_board_key(name), 0, limit - 1, desc=True, withscores=True)
        return _scored(found)

    def board_and_about(self, name: str, limit: int) -> tuple[list[tuple[str, float]], object | None]:
        """`board`, and what was said about it when it was put there, read at one instant; None when it is gone."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zrange(_board_key(name), 0, max(0, limit - 1), desc=True, withscores=True)
        pipeline.get(_about_key(name))
        with self._errors():
            members, about = pipeline.execute()
        return _scored(members), orjson.loads(about) if about is not None else None

    def rank(self, name: str, member: str) -> int | None:
        """The member's place on the board, from 1, in O(log n); None when it is not there."""
        with self._errors():
            found: Any = self._redis.zrevrank(_board_key(name), member)
        return None if found is None else int(found) + 1

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


def _about_key(name: str) -> str:
    return f"tally:about:{name}"


def _scored(found: list[tuple[bytes, float]]) -> list[tuple[str, float]]:
    return [(member.decode(), float(score)) for member, score in found]


def _escaped(part: str) -> str:
    """Without colons, so that no two triples share a key."""
    return part.replace("%", "%25").replace(":", "%3A")


def _milliseconds(ttl: timedelta) -> int:
    return max(1, round(ttl / timedelta(milliseconds=1)))
