"""Loading files: NDJSON, CSV or separated text, plain, gzip or zstd, in chunks of constant memory.

Belongs here: the load and its account. Does not belong here: bytes (`bytes`), rows (`rows`), mapping (`contracts`).

A load can be repeated after any interruption: ids come from the rows, so what was taken before becomes a duplicate.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from contracts.mapping import Mapping, MappingError
from resources.event_log.base import EventLog, EventLogError, OffsetRange, TopicPartition
from streaming.intake import Admission, Prepared, Submission, append, new_receipt_id, prepare
from streaming.sources.bytes import Progress, read_blocks
from streaming.sources.errors import SourceError
from streaming.sources.rows import Chunk, read_chunks

CHUNK_ROWS = 10_000
_SUSPICIOUS_ROWS = (
    10  # a file of which so many rows, and no other, are refused at its start is read with a wrong mapping
)
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Where a load is: the file, its bytes taken and in all (compressed, where it is), rows of all files so far."""

    path: Path
    bytes_read: int
    bytes_total: int
    rows: int


@dataclass(slots=True)
class IngestAccount:
    """What became of a load: `read = accepted + sum(quarantined.values())`, all durable under one receipt.

    `events >= accepted`: a row may give several. `ranges` hold, per partition, where the messages lie. `fault` is the
    sentence of the error that ended the load early, '' when it went through.
    """

    receipt_id: str
    read: int = 0
    accepted: int = 0
    events: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    ranges: dict[TopicPartition, OffsetRange] = field(default_factory=dict)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    type_changes: Counter[str] = field(default_factory=Counter)
    fault: str = ""

    def add(self, admission: Admission) -> None:
        self.read += admission.rows
        self.accepted += admission.accepted
        self.events += admission.events
        self.quarantined.update(admission.quarantined)
        self.unknown_fields.update(admission.unknown_fields)
        self.type_changes.update(admission.type_changes)
        for place in admission.positions:
            key = TopicPartition(place.topic, place.partition)
            known = self.ranges.get(key, place)
            self.ranges[key] = place._replace(start=min(known.start, place.start), end=max(known.end, place.end))


class IngestError(SourceError):
    """A load ended early. `account` holds everything that was taken before, and the same sentence as `fault`."""

    def __init__(self, message: str, account: IngestAccount) -> None:
        super().__init__(message)
        account.fault = message
        self.account = account


def ingest_files(
    paths: Sequence[Path],
    mapping: Mapping,
    event_log: EventLog,
    workspace: str,
    progress: Callable[[LoadProgress], None] | None = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
    receipt_id: str | None = None,
) -> IngestAccount:
    """Load files into the event log, one after the other; returns when every row is durable.

    While one chunk is appended, the next is read and mapped. Raises IngestError, with the account so far, for a missing
    file, a format or compression that cannot be read, a mapping that does not fit, or a log that is not available.
    """
    account = IngestAccount(receipt_id or new_receipt_id())
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise IngestError(f"no such file: {', '.join(missing)}; nothing was loaded", account)
    with ThreadPoolExecutor(1, thread_name_prefix="append") as executor:
        pending: Future[list[Admission]] | None = None
        try:
            for prepared, reached in _prepared(paths, mapping, workspace, account.receipt_id, chunk_rows):
                _settle(pending, account)
                pending = executor.submit(append, prepared, event_log)
                if progress is not None:
                    progress(reached)
            _settle(pending, account)
        except (SourceError, MappingError, EventLogError) as error:
            if not isinstance(error, EventLogError):
                _settle(pending, account)
            raise IngestError(str(error), account) from error
    return account


def _settle(pending: Future[list[Admission]] | None, account: IngestAccount) -> None:
    if pending is not None:
        for admission in pending.result():
            account.add(admission)


def _prepared(
    paths: Sequence[Path],
    mapping: Mapping,
    workspace: str,
    receipt_id: str,
    chunk_rows: int,
) -> Iterator[tuple[Prepared, LoadProgress]]:
    rows = 0
    for path in paths:
        taken = Progress()
        for chunk in read_chunks(path, read_blocks(path, taken), mapping.spec, chunk_rows):
            prepared = prepare([_submission(path, chunk, mapping, workspace, receipt_id)])
            if chunk.first_row == 1:
                _refuse_wrong_mapping(path, mapping, prepared.admissions[0])
            rows += chunk.count
            yield prepared, LoadProgress(path, taken.bytes, path.stat().st_size, rows)


def _submission(path: Path, chunk: Chunk, mapping: Mapping, workspace: str, receipt_id: str) -> Submission:
    return Submission(
        chunk.rows,
        mapping,
        workspace,
        datetime.now(UTC),
        receipt_id,
        source=path.name,
        first_row=chunk.first_row,
        row_numbers=chunk.row_numbers,
        misshapen=chunk.misshapen,
    )


def _refuse_wrong_mapping(path: Path, mapping: Mapping, first: Admission) -> None:
    """When not one row at the start of a file is accepted, the mapping is wrong rather than every row."""
    if first.accepted or first.rows < _SUSPICIOUS_ROWS:
        return
    verdict = first.verdicts[0]
    raise SourceError(
        f"{path}: none of its first {first.rows} rows fits mapping {mapping.name!r} ({mapping.spec.format}), so"
        f" nothing of it was loaded; row {verdict.row + 1}: {verdict.reason}: {verdict.detail}"
    )


def wait_until_processed(
    event_log: EventLog,
    groups: Sequence[str],
    ranges: Sequence[OffsetRange],
    timeout: float,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Wait until every group has committed past these ranges; False when `timeout` seconds pass before.

    `progress` is told how many messages of the ranges are still to be committed by the slowest group.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = 0
        for group in groups:
            commits = event_log.group_commits(group)
            places = {place: commit.offset for place, commit in commits.items()}
            left = max(left, sum(_left(place, places) for place in ranges))
        if progress is not None:
            progress(left)
        if left == 0:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _left(place: OffsetRange, committed: dict[TopicPartition, int]) -> int:
    at = committed.get(TopicPartition(place.topic, place.partition), place.start)
    return max(0, place.end - max(at, place.start))
