"""The cache: computed answers and boards that may vanish at any time without harm.

Belongs here: choosing the cache by URL. Does not belong here: what is worth caching. Nothing may be counted here: every
value is computed elsewhere and put here whole.
"""

from __future__ import annotations

from resources.cache.redis_cache import Board, Cache, CacheError, CacheUnavailableError


def open_cache(url: str) -> Cache:
    """Return the cache at `url`: `redis://host:port/db`, `rediss://…`, or `unix:///path/to.sock?db=n`.

    Nothing is connected before the first call. Raises CacheError for any other URL.
    """
    return Cache(url)


__all__ = ["Board", "Cache", "CacheError", "CacheUnavailableError", "open_cache"]
