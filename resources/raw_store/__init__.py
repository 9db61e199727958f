"""Every event once, every refused row, and the one verdict of every log position.

Belongs here: choosing a raw store by URL. Does not belong here: how an implementation stores (`sqlite`, `mongodb`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from resources.raw_store.base import (
    PositionRange,
    QuarantineFilter,
    QuarantineStatus,
    RawStore,
    RawStoreConflictError,
    RawStoreError,
    RawStoreUnavailableError,
    RowsRefusedError,
    VerdictCounts,
    parse_position_id,
    position_id,
)


def open_raw_store(url: str) -> RawStore:
    """Return the raw store at `url`; nothing is connected before the first call.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, or `mongodb://host[:port]/database` (also `mongodb+srv://`).
    Raises RawStoreError for any other URL.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from resources.raw_store.sqlite import SqliteRawStore

        return SqliteRawStore(url)
    if scheme in {"mongodb", "mongodb+srv"}:
        from resources.raw_store.mongodb import MongoRawStore

        return MongoRawStore(url)
    raise RawStoreError(f"no raw store for URL scheme {scheme!r}: use sqlite:///path or mongodb://host/database")


__all__ = [
    "PositionRange",
    "QuarantineFilter",
    "QuarantineStatus",
    "RawStore",
    "RawStoreConflictError",
    "RawStoreError",
    "RawStoreUnavailableError",
    "RowsRefusedError",
    "VerdictCounts",
    "open_raw_store",
    "parse_position_id",
    "position_id",
]
