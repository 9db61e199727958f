"""The client of one MongoDB database, and its errors in the raw store's terms.

Belongs here: connection options, durability, which errors are transient. Does not belong here: any collection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON, InvalidDocument
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    PyMongoError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.write_concern import WriteConcern

from resources.raw_store.base import RawStoreError, RawStoreUnavailableError, RowsRefusedError

Document = dict[str, Any]
_TRANSIENT = (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
    WriteConcernError,
)
_TRANSIENT_CODES = {
    6,  # HostUnreachable
    7,  # HostNotFound
    64,  # WriteConcernFailed
    89,  # NetworkTimeout
    91,  # ShutdownInProgress
    112,  # WriteConflict
    189,  # PrimarySteppedDown
    262,  # ExceededTimeLimit
    9001,  # SocketException
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
    14031,  # OutOfDiskSpace
}
_ABOUT_VALUES = {
    2,  # BadValue
    14,  # TypeMismatch
    22,  # InvalidBSON
    121,  # DocumentValidationFailure
    10334,  # BSONObjectTooLarge
    17280,  # KeyTooLong
}
DUPLICATE_KEY = 11000
_DEFAULTS = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000, "socketTimeoutMS": 60_000}


class MongoDatabase:
    """The database that a `mongodb://…/name` URL names. Nothing is connected before the first use."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self.name = parts.path.strip("/")
        self.label = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self.name}"  # without user and password
        if not self.name or "/" in self.name:
            raise RawStoreError(f"raw store {self.label}: the URL names no database; use mongodb://host/database")
        given = {option.lower() for option in parse_qs(parts.query)}
        self._options: dict[str, Any] = {name: ms for name, ms in _DEFAULTS.items() if name.lower() not in given}
        self._client: pymongo.MongoClient[Document] | None = None

    def database(self) -> Database[Document]:
        """Writes return when a majority has them in its journal, whatever the URL says: durable on return."""
        if self._client is None:
            self._client = pymongo.MongoClient(self._url, connect=False, appname="tally", **self._options)
        return self._client.get_database(
            self.name,
            codec_options=CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_MS),
            write_concern=WriteConcern(w="majority", j=True, wtimeout=30_000),
        )

    def close(self) -> None:
        client, self._client = self._client, None
        if client:
            client.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn pymongo's errors into the raw store's."""
        try:
            yield
        except BulkWriteError as error:
            raise self.bulk_refusal(error) from error
        except (InvalidBSON, InvalidDocument, DocumentTooLarge) as error:
            raise RowsRefusedError(f"raw store {self.label}: {error}") from error
        except PyMongoError as error:
            transient = isinstance(error, _TRANSIENT) or getattr(error, "code", None) in _TRANSIENT_CODES
            kind = RawStoreUnavailableError if transient or error.timeout else RawStoreError
            raise kind(f"raw store {self.label}: {_short(error)}") from error

    def bulk_refusal(self, error: BulkWriteError) -> RawStoreError:
        """The error for a bulk write that failed for other reasons than keys met again."""
        details = error.details or {}
        errors = [e for e in details.get("writeErrors", []) if e.get("code") != DUPLICATE_KEY]
        concerns = details.get("writeConcernErrors", [])
        first = (errors or concerns or [{}])[0]
        transient = not errors or all(e.get("code") in _TRANSIENT_CODES for e in errors)
        of_values = bool(errors) and all(e.get("code") in _ABOUT_VALUES for e in errors)
        kind = RawStoreUnavailableError if transient else RowsRefusedError if of_values else RawStoreError
        return kind(
            f"raw store {self.label}: {len(errors)} writes refused, {len(concerns)} not confirmed; the first:"
            f" {first.get('errmsg', 'unknown')} (code {first.get('code')})"
        )


def _short(error: PyMongoError) -> str:
    return str(error).split(", Topology Description", 1)[0][:500]
