"""The raw store in MongoDB: many writers, sharding, replicas.

Belongs here: the raw store's promises as single-document operations (no transactions are needed or used). Does not
belong here: the document layout (`mongodb_documents`), connections and errors (`mongodb_client`).

The order of writes makes every crash harmless: pieces of long texts, then events (unordered; `_id` decides the first
writer), then the duplicates found. A repeat of the batch finds its own rows by position and completes the rest.
Outcomes are read from the error details and from the stored positions, never from a counter of the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from contracts.envelope import POSITION_SCHEMA, SCHEMA_VERSION, STORED_SCHEMA
from resources.crashpoints import crashpoint
from resources.raw_store.base import (
    RECEIPT_ROWS_SCHEMA,
    PositionRange,
    QuarantineFilter,
    QuarantineStatus,
    RawStoreError,
    RawStoreUnavailableError,
    VerdictCounts,
    parse_position_id,
    position_id,
)
from resources.raw_store.frames import (
    COUNTS_SCHEMA,
    DUPLICATE_SCHEMA,
    PLACED_SCHEMA,
    POSITION,
    REFUSED_SCHEMA,
    conform,
    frame_of,
    offered_before,
    refuse_two_at_one_position,
    spans,
)
from resources.raw_store.holes import holes
from resources.raw_store.mongodb_client import DUPLICATE_KEY, Document, MongoDatabase
from resources.raw_store.mongodb_documents import (
    cut_long_texts,
    event_documents,
    event_frame,
    has_long_texts,
    piece_ids,
    quarantine_frame,
    refused_documents,
)

_IDENTITY = ("workspace", "event_id")
_IDS_AT_ONCE = 5_000
_INDEXES = {
    "events": ([*POSITION], ["receipt_id"]),
    "duplicates": ([*POSITION], ["receipt_id"]),
    "quarantine": ([*POSITION], ["receipt_id", "reason"], ["status", "first_seen"]),
}
_COLLECTION_OF_VERDICT = {"stored": "events", "duplicate": "duplicates", "quarantined": "quarantine"}
_HELD_SCHEMA = {
    "workspace": pl.String(),
    "event_id": pl.String(),
    **{f"held_{name}": dtype for name, dtype in POSITION_SCHEMA.items()},
}


class MongoRawStore:
    """`mongodb://host[:port]/database`. See `resources.raw_store.base.RawStore`."""

    def __init__(self, url: str) -> None:
        self._mongo = MongoDatabase(url)
        self.url = self._mongo.label

    def ensure_schema(self) -> None:
        with self._mongo.errors():
            for collection, indexes in _INDEXES.items():
                for fields in indexes:
                    self._in(collection).create_index([(name, ASCENDING) for name in fields])

    def _in(self, collection: str) -> Collection[Document]:
        return self._mongo.database()[collection]

    def put_events(self, events: pl.DataFrame) -> VerdictCounts:
        events = conform(events, STORED_SCHEMA, "events to store")
        if events.is_empty():
            return VerdictCounts(0, 0, 0)
        refuse_two_at_one_position(events, self.url)
        with self._mongo.errors():
            new, before = self._without_other_verdicts(events)
            first = new.unique(_IDENTITY, keep="first", maintain_order=True)
            lost = self._insert_events(first)
            winners = first.select(*_IDENTITY, *(pl.col(name).alias(f"held_{name}") for name in POSITION))
            held = pl.concat([winners.join(lost, on=_IDENTITY, how="anti"), lost])
            judged = new.select(*POSITION, *_IDENTITY, "receipt_id").join(held, on=_IDENTITY, how="left")
            elsewhere = pl.any_horizontal(pl.col(name) != pl.col(f"held_{name}") for name in POSITION)
            duplicates = judged.filter(elsewhere).select(*POSITION, *_IDENTITY, "receipt_id")
            crashpoint("raw_store.mongodb.between_inserts")
            self._insert_duplicates(duplicates)
        stored = new.height - duplicates.height
        return VerdictCounts(stored, duplicates.height + before.duplicate, before.quarantined)

    def _without_other_verdicts(self, events: pl.DataFrame) -> tuple[pl.DataFrame, VerdictCounts]:
        """Leave out rows whose position has another verdict already, and notice positions that hold another event."""
        stored: list[tuple[Any, ...]] = []
        duplicates: list[tuple[Any, ...]] = []
        quarantined: list[tuple[Any, ...]] = []
        for topic, partition, low, high in spans(events):
            where = PositionRange(topic, partition, low, high + 1)
            stored += self._fields("events", where, *POSITION, *_IDENTITY)
            duplicates += self._fields("duplicates", where, *POSITION, *_IDENTITY)
            quarantined += self._fields("quarantine", where, *POSITION)
        if stored:
            # The same check as for duplicates: it raises where the identity differs.
            offered_before(events, [], stored, self.url)
        return offered_before(events, quarantined, duplicates, self.url)

    def _fields(self, collection: str, where: PositionRange, *names: str) -> list[tuple[Any, ...]]:
        found = self._in(collection).find(_span(where), {"_id": 0, **dict.fromkeys(names, 1)})
        return [tuple(document[name] for name in names) for document in found]

    def _insert_events(self, events: pl.DataFrame) -> pl.DataFrame:
        """Insert; return identity and stored position of those that were there already (_HELD_SCHEMA)."""
        documents = event_documents(events)
        if has_long_texts(events):
            self._insert_new("event_texts", [piece for document in documents for piece in cut_long_texts(document)])
        there = self._insert_new("events", documents)
        wanted = (*_IDENTITY, *POSITION)
        rows = [
            tuple(found[name] for name in wanted)
            for ids in _chunks(there)
            for found in self._in("events").find({"_id": {"$in": ids}}, dict.fromkeys(wanted, 1))
        ]
        if len(rows) != len(there):
            raise RawStoreUnavailableError(
                f"raw store {self.url}: {len(there) - len(rows)} of {len(there)} events met again were deleted"
                " meanwhile; repeat the write"
            )
        self._forget_pieces(documents, rows)
        return frame_of(rows, _HELD_SCHEMA)

    def _forget_pieces(self, documents: Sequence[Document], held: Sequence[tuple[Any, ...]]) -> None:
        """Delete the pieces of long texts that were written for rows which turned out to be duplicates."""
        places = {tuple(row[:2]): tuple(row[2:]) for row in held}
        for document in documents:
            place = places.get((document["workspace"], document["event_id"]))
            if "cut" in document and place not in {None, tuple(document[name] for name in POSITION)}:
                ids = [piece for pieces in piece_ids(document).values() for piece in pieces]
                self._in("event_texts").delete_many({"_id": {"$in": ids}})

    def _insert_new(self, collection: str, documents: Sequence[Document]) -> list[str]:
        """Insert all that are new, in any order; return the `_id`s that were there already."""
        if not documents:
            return []
        try:
            self._in(collection).insert_many(documents, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            failed = details.get("writeErrors", [])
            if details.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in failed):
                raise self._mongo.bulk_refusal(error) from error
            return [documents[e["index"]]["_id"] for e in failed]
        return []

    def _insert_duplicates(self, duplicates: pl.DataFrame) -> None:
        documents = []
        for row in duplicates.iter_rows(named=True):
            place = position_id(*(row[name] for name in POSITION))
            documents.append({"_id": place, **row, "schema_version": SCHEMA_VERSION})
        self._insert_new("duplicates", documents)

    def put_quarantine(self, rejects: pl.DataFrame) -> None:
        rejects = conform(rejects, REFUSED_SCHEMA, "rows to quarantine").unique(
            POSITION, keep="first", maintain_order=True
        )
        if rejects.is_empty():
            return
        now = time.time_ns() // 1_000_000
        with self._mongo.errors():
            taken: list[tuple[Any, ...]] = []
            for topic, partition, low, high in spans(rejects):
                where = PositionRange(topic, partition, low, high + 1)
                taken += self._fields("events", where, *POSITION)
                taken += self._fields("duplicates", where, *POSITION)
            if taken:
                rejects = rejects.join(frame_of(taken, POSITION_SCHEMA), on=POSITION, how="anti")
            documents = refused_documents(rejects, now)
            self._insert_new("event_texts", [piece for document in documents for piece in cut_long_texts(document)])
            for ids in _chunks(self._insert_new("quarantine", documents)):
                self._in("quarantine").update_many({"_id": {"$in": ids}}, {"$max": {"last_seen": DatetimeMS(now)}})

    def verdicts(self, ranges: Sequence[PositionRange]) -> dict[PositionRange, VerdictCounts]:
        with self._mongo.errors():
            return {where: VerdictCounts(*(self._count(name, where) for name in _INDEXES)) for where in ranges}

    def _count(self, collection: str, where: PositionRange) -> int:
        return self._in(collection).count_documents(_span(where))

    def missing_offsets(self, where: PositionRange, limit: int = 1000) -> list[int]:
        def listed(collection: str, start: int, end: int) -> set[int]:
            span = where._replace(start=start, end=end)
            return {row[0] for row in self._fields(collection, span, "log_offset")}

        def covered(start: int, end: int) -> int:
            span = where._replace(start=start, end=end)
            counts = {name: self._count(name, span) for name in _INDEXES}
            # No position should have two verdicts; if one had, counting it twice would hide a hole.
            present = [name for name, count in counts.items() if count]
            if len(present) < 2:
                return sum(counts.values())
            *small, _ = sorted(present, key=counts.__getitem__)
            sets = [listed(name, start, end) for name in small]
            rest = set().union(*sets)
            largest = max(present, key=counts.__getitem__)
            shared = sum(
                self._in(largest).count_documents({**_span(span), "log_offset": {"$in": ids}}) for ids in _chunks(rest)
            )
            return counts[largest] + len(rest) - shared

        def present_offsets(start: int, end: int) -> set[int]:
            return set().union(*(listed(name, start, end) for name in _INDEXES))

        with self._mongo.errors():
            return holes(where.start, where.end, limit, covered, present_offsets)

    def read_events(self, ranges: Sequence[PositionRange], chunk: int = 50_000) -> Iterator[pl.DataFrame]:
        for where in ranges:
            start = where.start
            while start < where.end:
                with self._mongo.errors():
                    span = _span(where._replace(start=start))
                    found = list(self._in("events").find(span).sort("log_offset", ASCENDING).limit(chunk))
                    self._join_pieces(found)
                if found:
                    yield event_frame(found)
                if len(found) < chunk:
                    break
                start = found[-1]["log_offset"] + 1

    def _join_pieces(self, documents: Iterable[Document]) -> None:
        """Put texts that were cut back together. Pieces are fetched per document: they are long."""
        for document in documents:
            for name, ids in piece_ids(document).items():
                pieces = {piece["_id"]: piece["data"] for piece in self._in("event_texts").find({"_id": {"$in": ids}})}
                if len(pieces) < len(ids):
                    raise RawStoreError(f"raw store {self.url}: {set(ids) - set(pieces)} of event_texts are gone")
                data = b"".join(pieces[piece_id] for piece_id in ids)
                document[name] = data if isinstance(document[name], bytes) else data.decode()

    def read_duplicates(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        with self._mongo.errors():
            rows = [row for where in ranges for row in self._fields("duplicates", where, *DUPLICATE_SCHEMA)]
        return frame_of(rows, DUPLICATE_SCHEMA)

    def read_refused(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        with self._mongo.errors():
            found = [document for where in ranges for document in self._in("quarantine").find(_span(where))]
            self._join_pieces(found)
        return quarantine_frame(found).select(list(REFUSED_SCHEMA))

    def positions_of(self, identities: pl.DataFrame) -> pl.DataFrame:
        wanted = (f"{workspace}/{event_id}" for workspace, event_id in identities.select(_IDENTITY).iter_rows())
        with self._mongo.errors():
            rows = [
                tuple(found[name] for name in PLACED_SCHEMA)
                for ids in _chunks(wanted)
                for found in self._in("events").find({"_id": {"$in": ids}}, dict.fromkeys(PLACED_SCHEMA, 1))
            ]
        return frame_of(rows, PLACED_SCHEMA)

    def forget(self, positions: pl.DataFrame) -> int:
        deleted = 0
        by_place = positions.select(POSITION).unique().group_by("log_topic", "log_partition").agg("log_offset")
        with self._mongo.errors():
            for topic, partition, offsets in by_place.iter_rows():
                for some in _chunks(offsets):
                    place = {"log_topic": topic, "log_partition": partition, "log_offset": {"$in": some}}
                    cut = [d for name in _INDEXES for d in self._in(name).find({**place, "cut": {"$exists": True}})]
                    pieces = [piece for document in cut for ids in piece_ids(document).values() for piece in ids]
                    self._in("event_texts").delete_many({"_id": {"$in": pieces}})
                    deleted += sum(self._in(name).delete_many(place).deleted_count for name in _INDEXES)
        return deleted

    def get_event(self, workspace: str, event_id: str) -> dict[str, object] | None:
        with self._mongo.errors():
            found = self._in("events").find_one({"_id": f"{workspace}/{event_id}"})
            if found is None:
                return None
            self._join_pieces([found])
        return event_frame([found]).row(0, named=True)

    def receipt(self, receipt_id: str) -> Mapping[str, object]:
        where = {"receipt_id": receipt_id}
        with self._mongo.errors():
            stored = self._in("events").count_documents(where)
            duplicate = self._in("duplicates").count_documents(where)
            groups = self._in("quarantine").aggregate(
                [{"$match": where}, {"$group": {"_id": "$reason", "rows": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
            )
            reasons = {group["_id"]: group["rows"] for group in groups}
        return {"stored": stored, "duplicate": duplicate, "quarantined": sum(reasons.values()), "reasons": reasons}

    def receipt_rows(self, receipt_id: str, limit: int = 1000) -> pl.DataFrame:
        order = [(name, ASCENDING) for name in POSITION]
        rows: list[tuple[Any, ...]] = []
        names = {name: 1 for name in RECEIPT_ROWS_SCHEMA if name != "verdict"}
        with self._mongo.errors():
            for verdict, collection in _COLLECTION_OF_VERDICT.items():
                found = self._in(collection).find({"receipt_id": receipt_id}, {"_id": 0, **names})
                rows += [
                    (verdict, *(document.get(name, "") for name in names))
                    for document in found.sort(order).limit(limit)
                ]
        return frame_of(rows, RECEIPT_ROWS_SCHEMA).sort(POSITION).head(limit)

    def quarantine(self, where: QuarantineFilter) -> pl.DataFrame:
        names = ("reason", "workspace", "network", "status")
        conditions: Document = {name: value for name in names if (value := getattr(where, name)) is not None}
        if where.ids is not None:
            conditions["_id"] = {"$in": [position_id(*parse_position_id(text)) for text in where.ids]}
        seen = {
            operator: DatetimeMS(_ms(moment))
            for operator, moment in (("$gte", where.since), ("$lt", where.until))
            if moment is not None
        }
        if seen:
            conditions["first_seen"] = seen
        order = [(name, ASCENDING) for name in ("first_seen", *POSITION)]
        if where.limit == 0:  # to MongoDB 0 means no limit
            return quarantine_frame([])
        with self._mongo.errors():
            found = list(self._in("quarantine").find(conditions).sort(order).limit(where.limit))
            self._join_pieces(found)
        return quarantine_frame(found)

    def quarantine_counts(self) -> pl.DataFrame:
        group = {name: f"${name}" for name in ("status", "reason", "network")}
        totals = {"rows": {"$sum": 1}, "first": {"$min": "$first_seen"}, "last": {"$max": "$last_seen"}}
        with self._mongo.errors():
            found = list(self._in("quarantine").aggregate([{"$group": {"_id": group, **totals}}]))
        rows = [(*(g["_id"][name] for name in group), g["rows"], int(g["first"]), int(g["last"])) for g in found]
        return frame_of(sorted(rows), COUNTS_SCHEMA)

    def mark_quarantine(self, ids: Sequence[str], status: QuarantineStatus, note: str) -> int:
        names = sorted({position_id(*parse_position_id(text)) for text in ids})
        change: Document = {"$set": {"status": status, "note": note}}
        if status == "replayed":
            change["$inc"] = {"attempts": 1}
        with self._mongo.errors():
            return sum(
                self._in("quarantine").update_many({"_id": {"$in": some}}, change).matched_count
                for some in _chunks(names)
            )

    def ping(self) -> None:
        with self._mongo.errors():
            self._mongo.database().command("ping")

    def close(self) -> None:
        self._mongo.close()


def _span(where: PositionRange) -> Document:
    return {
        "log_topic": where.log_topic,
        "log_partition": where.log_partition,
        "log_offset": {"$gte": where.start, "$lt": where.end},
    }


def _chunks(ids: Iterable[Any]) -> Iterator[list[Any]]:
    all_ids = list(ids)
    for start in range(0, len(all_ids), _IDS_AT_ONCE):
        yield all_ids[start : start + _IDS_AT_ONCE]


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
