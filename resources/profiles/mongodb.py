"""Profiles in the raw store's MongoDB database: collections `profiles` and `profile_snapshots`.

Belongs here: their documents, operations and indexes. Does not belong here: connections and errors
(`resources.raw_store.mongodb_client`).

Every write is a set of single-document operations that may be repeated and come in any order, so neither transactions
nor retries on the server are needed. `_id` is `workspace/network/account`, of a snapshot with `@milliseconds` behind;
both collections are made to be sharded by `_id`, hashed: every read names it, or a whole workspace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, InsertOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from resources.profiles.base import (
    PROFILE_VERSION,
    NewestField,
    Profile,
    ProfileKey,
    ProfileUpdate,
    Snapshot,
    milliseconds,
    moment_of,
    newest_fields,
    seen_span,
    values_text,
)
from resources.raw_store.base import RawStoreUnavailableError
from resources.raw_store.mongodb_client import DUPLICATE_KEY, Document, MongoDatabase

_TRIES = 10
_OPERATIONS_AT_ONCE = 5_000


class MongoProfiles:
    """`mongodb://host[:port]/database`. See `resources.profiles.base.Profiles`."""

    def __init__(self, url: str) -> None:
        self._mongo = MongoDatabase(url)
        self.url = self._mongo.label

    def ensure_schema(self) -> None:
        with self._mongo.errors():
            self._in("profiles").create_index([("workspace", ASCENDING)])
            self._in("profile_snapshots").create_index([("profile", ASCENDING), ("taken_at", ASCENDING)])
            self._in("profile_snapshots").create_index([("taken_at", ASCENDING)])

    def _in(self, collection: str) -> Collection[Document]:
        return self._mongo.database()[collection]

    def update(self, updates: Sequence[ProfileUpdate]) -> None:
        fields, spans = newest_fields(updates), seen_span(updates)
        with self._mongo.errors():
            # The profiles first: a field's condition is about a document that is there.
            self._upsert([_touch(key, span) for key, span in spans.items()])
            settings = [_set_if_newer(key, name, item) for key, named in fields.items() for name, item in named.items()]
            for some in _chunks(settings):
                self._in("profiles").bulk_write(some, ordered=False)

    def _upsert(self, operations: list[UpdateOne]) -> None:
        """Two writers that make the same profile at once: one of them is told that it is there, and tries again."""
        for some in _chunks(operations):
            left = some
            for _ in range(_TRIES):
                try:
                    self._in("profiles").bulk_write(left, ordered=False)
                except BulkWriteError as error:
                    details = error.details or {}
                    failed = details.get("writeErrors", [])
                    if details.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in failed):
                        raise
                    left = [left[e["index"]] for e in failed]
                else:
                    break
            else:
                raise RawStoreUnavailableError(f"raw store {self.url}: {len(left)} profiles still collide; repeat it")

    def get(self, key: ProfileKey) -> Profile | None:
        with self._mongo.errors():
            found = self._in("profiles").find_one({"_id": "/".join(key)})
        if found is None:
            return None
        fields = dict(sorted(found.get("fields", {}).items()))
        return Profile(
            key,
            {name: orjson.loads(item["value"]) for name, item in fields.items()},
            {name: moment_of(int(item["seen_at"])) for name, item in fields.items()},
            moment_of(int(found["first_seen"])),
            moment_of(int(found["last_seen"])),
            found["schema_version"],
        )

    def count(self, workspace: str) -> int:
        with self._mongo.errors():
            return self._in("profiles").count_documents({"workspace": workspace})

    def add_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        operations = [
            InsertOne(
                {
                    "_id": f"{'/'.join(item.key)}@{milliseconds(item.taken_at)}",
                    "profile": "/".join(item.key),
                    "taken_at": DatetimeMS(milliseconds(item.taken_at)),
                    "values": orjson.loads(values_text(item)),
                    "schema_version": PROFILE_VERSION,
                }
            )
            for item in snapshots
        ]
        there = 0
        with self._mongo.errors():
            for some in _chunks(operations):
                try:
                    self._in("profile_snapshots").bulk_write(some, ordered=False)
                except BulkWriteError as error:
                    details = error.details or {}
                    failed = details.get("writeErrors", [])
                    if details.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in failed):
                        raise
                    there += len(failed)
        return len(operations) - there

    def snapshots(self, key: ProfileKey, start: datetime, end: datetime) -> list[Snapshot]:
        span = {"$gte": DatetimeMS(milliseconds(start)), "$lt": DatetimeMS(milliseconds(end))}
        with self._mongo.errors():
            found = list(
                self._in("profile_snapshots")
                .find({"profile": "/".join(key), "taken_at": span})
                .sort("taken_at", ASCENDING)
            )
        return [Snapshot(key, moment_of(int(item["taken_at"])), dict(item["values"])) for item in found]

    def expire_snapshots(self, before: datetime) -> int:
        with self._mongo.errors():
            done = self._in("profile_snapshots").delete_many({"taken_at": {"$lt": DatetimeMS(milliseconds(before))}})
        return done.deleted_count

    def close(self) -> None:
        self._mongo.close()


def _touch(key: ProfileKey, span: tuple[int, int]) -> UpdateOne:
    """Make the profile, or widen the span in which it was seen."""
    made = {**key._asdict(), "schema_version": PROFILE_VERSION}
    return UpdateOne(
        {"_id": "/".join(key)},
        {
            "$setOnInsert": made,
            "$min": {"first_seen": DatetimeMS(span[0])},
            "$max": {"last_seen": DatetimeMS(span[1])},
        },
        upsert=True,
    )


def _set_if_newer(key: ProfileKey, name: str, item: NewestField) -> UpdateOne:
    """Set one field, unless a later value (or an equally late, greater one) is there already."""
    at, seen = f"fields.{name}.seen_at", DatetimeMS(item.seen_ms)
    older: list[Document] = [
        {at: {"$exists": False}},
        {at: {"$lt": seen}},
        {at: seen, f"fields.{name}.value": {"$lt": item.text}},
    ]
    return UpdateOne(
        {"_id": "/".join(key), "$or": older}, {"$set": {f"fields.{name}": {"value": item.text, "seen_at": seen}}}
    )


def _chunks(operations: Sequence[Any]) -> Iterable[list[Any]]:
    for start in range(0, len(operations), _OPERATIONS_AT_ONCE):
        yield list(operations[start : start + _OPERATIONS_AT_ONCE])
