"""The raw store in one SQLite file: local runs, tests, and small installations.

Belongs here: the raw store's promises as transactions. Does not belong here: SQL text (`sqlite_schema`), connections
(`sqlite_connection`). The file is shared by processes; a killed writer leaves nothing (WAL), a finished one everything.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from contracts.envelope import POSITION_SCHEMA, STORED_SCHEMA
from resources.raw_store import sqlite_schema as sql
from resources.raw_store.base import (
    RECEIPT_ROWS_SCHEMA,
    PositionRange,
    QuarantineFilter,
    QuarantineStatus,
    RawStoreError,
    VerdictCounts,
    parse_position_id,
)
from resources.raw_store.frames import (
    COUNTS_SCHEMA,
    DUPLICATE_SCHEMA,
    PLACED_SCHEMA,
    POSITION,
    QUARANTINE_SCHEMA,
    REFUSED_SCHEMA,
    conform,
    event_of,
    frame_of,
    offered_before,
    plain_rows,
    position_taken,
    refuse_two_at_one_position,
    spans,
)
from resources.raw_store.holes import holes
from resources.raw_store.sqlite_connection import Connections

_OFFERED = (*POSITION, "workspace", "event_id", "receipt_id")


class SqliteRawStore:
    """`sqlite:///relative.db` or `sqlite:////absolute.db`. See `resources.raw_store.base.RawStore`."""

    def __init__(self, url: str) -> None:
        self.url = url
        name = url.removeprefix("sqlite:///")
        if name == url or not name or "?" in name:
            raise RawStoreError(f"{url!r} names no file: use sqlite:///relative.db or sqlite:////absolute.db")
        self._connections = Connections(Path(name).absolute())
        self._label = str(self._connections.path)

    def ensure_schema(self) -> None:
        with self._connections.writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > sql.VERSION:
                raise RawStoreError(
                    f"raw store {self._label}: written by a newer release (layout {version}, this one reads"
                    f" up to {sql.VERSION})"
                )
            for statement in sql.DDL:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {sql.VERSION}")

    def put_events(self, events: pl.DataFrame) -> VerdictCounts:
        events = conform(events, STORED_SCHEMA, "events to store")
        if events.is_empty():
            return VerdictCounts(0, 0, 0)
        refuse_two_at_one_position(events, self._label)
        with self._connections.writing() as db:
            new, before = self._without_other_verdicts(db, events)
            duplicate = self._insert_events(db, new)
        return VerdictCounts(new.height - duplicate, duplicate + before.duplicate, before.quarantined)

    def _without_other_verdicts(
        self, db: sqlite3.Connection, events: pl.DataFrame
    ) -> tuple[pl.DataFrame, VerdictCounts]:
        """Leave out rows whose position was quarantined or found duplicate before: the first verdict stands."""
        quarantined: list[tuple[Any, ...]] = []
        duplicates: list[tuple[Any, ...]] = []
        for topic, partition, low, high in spans(events):
            where = (topic, partition, low, high + 1)
            quarantined += db.execute(sql.POSITIONS_SPAN["quarantine"], where)
            duplicates += db.execute(sql.DUPLICATES_SPAN, where)
        return offered_before(events, quarantined, duplicates, self._label)

    def _insert_events(self, db: sqlite3.Connection, events: pl.DataFrame) -> int:
        """Insert what is new and return how many rows were duplicates.

        The usual batch has none: then one pass over the wide rows is all. Otherwise a second, narrow pass finds by
        position which of the rows that were there already are the same rows met again.
        """
        changes = db.total_changes
        try:
            db.executemany(sql.INSERT_EVENT, plain_rows(events))
            refused = None
        except sqlite3.IntegrityError as error:
            refused = error
        if refused is None and db.total_changes - changes == events.height:
            return 0
        db.execute(sql.TEMP_OFFERED)
        db.execute(sql.CLEAR_OFFERED)
        db.executemany(sql.INSERT_OFFERED, events.select(_OFFERED).iter_rows())
        clash = db.execute(sql.FIND_CLASH).fetchone()
        if clash:
            raise position_taken(self._label, clash[:3], clash[3:5], clash[5:]) from refused
        if refused is not None:
            raise refused
        duplicate = int(db.execute(sql.COUNT_DUPLICATES).fetchone()[0])
        db.execute(sql.INSERT_DUPLICATES)
        return duplicate

    def put_quarantine(self, rejects: pl.DataFrame) -> None:
        rejects = conform(rejects, REFUSED_SCHEMA, "rows to quarantine")
        if rejects.is_empty():
            return
        now = _now_ms()
        with self._connections.writing() as db:
            taken: list[tuple[Any, ...]] = []
            for topic, partition, low, high in spans(rejects):
                where = (topic, partition, low, high + 1)
                taken += db.execute(sql.POSITIONS_SPAN["events"], where)
                taken += db.execute(sql.POSITIONS_SPAN["duplicates"], where)
            if taken:
                held = frame_of(taken, POSITION_SCHEMA)
                rejects = rejects.join(held, on=POSITION, how="anti")
            db.executemany(sql.INSERT_QUARANTINE, [(*row, now, now) for row in plain_rows(rejects)])

    def verdicts(self, ranges: Sequence[PositionRange]) -> dict[PositionRange, VerdictCounts]:
        with self._connections.reading() as db:
            return {where: VerdictCounts(*_counts(db, where)) for where in ranges}

    def missing_offsets(self, where: PositionRange, limit: int = 1000) -> list[int]:
        with self._connections.reading() as db:

            def covered(start: int, end: int) -> int:
                span = (where.log_topic, where.log_partition, start, end)
                twice = sum(int(db.execute(statement, span).fetchone()[0]) for statement in sql.COUNT_OVERLAP)
                return sum(_counts(db, span)) - twice

            def present(start: int, end: int) -> set[int]:
                span = (where.log_topic, where.log_partition, start, end)
                return {row[0] for statement in sql.OFFSETS_SPAN.values() for row in db.execute(statement, span)}

            return holes(where.start, where.end, limit, covered, present)

    def read_events(self, ranges: Sequence[PositionRange], chunk: int = 50_000) -> Iterator[pl.DataFrame]:
        for topic, partition, start, end in ranges:
            next_offset = start
            while next_offset < end:
                # One short transaction per chunk: a slow reader must not keep the WAL from being checkpointed.
                with self._connections.reading() as db:
                    rows = db.execute(sql.READ_EVENTS, (topic, partition, next_offset, end, chunk)).fetchall()
                if rows:
                    yield frame_of(rows, STORED_SCHEMA)
                if len(rows) < chunk:
                    break
                next_offset = rows[-1][-1] + 1

    def read_duplicates(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        with self._connections.reading() as db:
            rows = [row for where in ranges for row in db.execute(sql.READ_DUPLICATES, where)]
        return frame_of(rows, DUPLICATE_SCHEMA)

    def read_refused(self, ranges: Sequence[PositionRange]) -> pl.DataFrame:
        with self._connections.reading() as db:
            rows = [row for where in ranges for row in db.execute(sql.READ_REFUSED, where)]
        return frame_of(rows, REFUSED_SCHEMA)

    def positions_of(self, identities: pl.DataFrame) -> pl.DataFrame:
        wanted = identities.select("workspace", "event_id").iter_rows()
        with self._connections.reading() as db:
            rows = [row for identity in wanted for row in db.execute(sql.FIND_POSITION, identity)]
        return frame_of(rows, PLACED_SCHEMA)

    def forget(self, positions: pl.DataFrame) -> int:
        places = positions.select(POSITION).unique().rows()
        with self._connections.writing() as db:
            before = db.total_changes
            for statement in sql.FORGET:
                db.executemany(statement, places)
            return db.total_changes - before

    def get_event(self, workspace: str, event_id: str) -> dict[str, object] | None:
        with self._connections.reading() as db:
            row = db.execute(sql.GET_EVENT, (workspace, event_id)).fetchone()
        return event_of(row) if row else None

    def receipt(self, receipt_id: str) -> Mapping[str, object]:
        with self._connections.reading() as db:
            stored = db.execute(sql.RECEIPT_STORED, (receipt_id,)).fetchone()[0]
            duplicate = db.execute(sql.RECEIPT_DUPLICATE, (receipt_id,)).fetchone()[0]
            reasons = dict(db.execute(sql.RECEIPT_REASONS, (receipt_id,)).fetchall())
        return {"stored": stored, "duplicate": duplicate, "quarantined": sum(reasons.values()), "reasons": reasons}

    def receipt_rows(self, receipt_id: str, limit: int = 1000) -> pl.DataFrame:
        with self._connections.reading() as db:
            return frame_of(db.execute(sql.RECEIPT_ROWS, (receipt_id, limit)).fetchall(), RECEIPT_ROWS_SCHEMA)

    def quarantine(self, where: QuarantineFilter) -> pl.DataFrame:
        with self._connections.reading() as db:
            if where.ids is not None:
                db.execute(sql.TEMP_WANTED)
                db.execute(sql.CLEAR_WANTED)
                db.executemany(sql.INSERT_WANTED, [parse_position_id(text) for text in where.ids])
            statement, values = sql.select_quarantine(
                wanted=where.ids is not None,
                reason=where.reason,
                workspace=where.workspace,
                network=where.network,
                status=where.status,
                since=_ms(where.since),
                until=_ms(where.until),
            )
            rows = db.execute(statement, (*values, where.limit)).fetchall()
        return frame_of(rows, QUARANTINE_SCHEMA)

    def quarantine_counts(self) -> pl.DataFrame:
        with self._connections.reading() as db:
            return frame_of(db.execute(sql.COUNT_QUARANTINE).fetchall(), COUNTS_SCHEMA)

    def mark_quarantine(self, ids: Sequence[str], status: QuarantineStatus, note: str) -> int:
        positions = {parse_position_id(text) for text in ids}
        with self._connections.writing() as db:
            return sum(db.execute(sql.MARK_QUARANTINE, (status, note, *place)).rowcount for place in sorted(positions))

    def ping(self) -> None:
        with self._connections.reading() as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def close(self) -> None:
        self._connections.close()


def _counts(db: sqlite3.Connection, span: tuple[str, int, int, int]) -> tuple[int, int, int]:
    stored, duplicate, quarantined = (
        int(db.execute(sql.COUNT_SPAN[table], span).fetchone()[0]) for table in ("events", "duplicates", "quarantine")
    )
    return stored, duplicate, quarantined


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
