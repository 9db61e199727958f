"""Intake: rows of a source → a verdict per row → messages that are durable in the event log.

Belongs here: applying a mapping to submissions and appending the outcome, for the collector and for files alike.
Does not belong here: HTTP (`collector`), reading files (`sources`), what is valid (`contracts`).

Valid rows go to their type's topic, refused rows to `quarantine`; only when both are durable is there an Admission.
Many submissions are mapped and appended together, because a mapping and an append each have a fixed cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, cast

import polars as pl
import uuid_utils

from contracts import wire
from contracts.event_types import QUARANTINE, TOPIC_OF_TYPE
from contracts.mapping import Context, Mapping
from contracts.rejects import Reject, parse_place, place_of, reject_frame
from resources.crashpoints import crashpoint
from resources.event_log.base import Appended, EventLog, OffsetRange
from resources.event_log.limits import DEFAULT_MAX_MESSAGE_BYTES

Status = Literal["accepted", "duplicate", "quarantined"]

_SUSPECT_BYTES = DEFAULT_MAX_MESSAGE_BYTES // 8  # escaping makes text six times longer at worst
_KEY_BYTES = 8_192  # workspace and actor or object, at the longest


def new_receipt_id() -> str:
    """Return a new handle for the account of one request or file load: a UUIDv7, so receipts sort by time."""
    return str(uuid_utils.uuid7())


class Verdict(NamedTuple):
    """What became of one row (from 0). `duplicate`: an earlier row of the same submission has the same event id."""

    row: int
    event_id: str
    status: Status
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """Rows of one sender: JSON rows as bytes, or a table of text cells. `source` is "request" or a file's name.

    `first_row` is the number (from 1) of the first row at its source; `row_numbers` gives each row's number where they
    are not consecutive. `misshapen` are rows that could not even be cut into cells.
    """

    rows: Sequence[bytes] | pl.DataFrame
    mapping: Mapping
    workspace: str
    received_at: datetime
    receipt_id: str
    source: str = "request"
    first_row: int = 1
    row_numbers: Sequence[int] | None = None
    misshapen: Sequence[Reject] = ()
    sent_at: datetime | None = None

    @property
    def size(self) -> int:
        rows = self.rows.height if isinstance(self.rows, pl.DataFrame) else len(self.rows)
        return rows + len(self.misshapen)

    def numbers(self) -> list[int]:
        """The number at its source of each row, those of `misshapen` last."""
        read = self.size - len(self.misshapen)
        numbers = self.row_numbers or range(self.first_row, self.first_row + read)
        return [*numbers, *(reject.row for reject in self.misshapen)]


@dataclass(slots=True)
class Admission:
    """What a submission became. `accepted + sum(quarantined.values()) = rows`; all of it is durable.

    A row may give several events, so `events >= accepted`. Duplicates within the submission are accepted: the log keeps
    them and the stores' verdict will be `duplicate`. `positions` holds, per partition, the range its messages lie in.
    """

    receipt_id: str
    rows: int
    accepted: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    positions: list[OffsetRange] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    type_changes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Topic:
    """Messages for one topic, and for each the submission it belongs to."""

    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)


class Prepared:
    """Submissions that are mapped and encoded, but not appended yet."""

    def __init__(self, admissions: list[Admission]) -> None:
        self.admissions = admissions
        self.topics: dict[str, _Topic] = {}

    def add(self, topic: str, keys: list[bytes], values: list[bytes], owners: list[int]) -> None:
        messages = self.topics.setdefault(topic, _Topic())
        messages.keys += keys
        messages.values += values
        messages.owners += owners

    @property
    def messages(self) -> int:
        return sum(len(topic.keys) for topic in self.topics.values())


def prepare(submissions: Sequence[Submission]) -> Prepared:
    """Decide about every row. No content of a row raises; MappingError when a table lacks a column of its mapping."""
    prepared = Prepared([Admission(submission.receipt_id, submission.size) for submission in submissions])
    for group in _groups(submissions):
        _Group(group, submissions).prepare(prepared)
    return prepared


def append(prepared: Prepared, event_log: EventLog) -> list[Admission]:
    """Make it durable; quarantine last, so that no refused row is there without its neighbours.

    Raises LogUnavailableError when durability is not known: nothing may be acknowledged then. Sending again is safe,
    the rows that were appended become duplicates.
    """
    crashpoint("intake.before_append")
    for topic in sorted(prepared.topics, key=lambda name: (name == QUARANTINE, name)):
        messages = prepared.topics[topic]
        appended = event_log.append(topic, messages.keys, messages.values)
        crashpoint("intake.between_topics")
        _note_positions(prepared.admissions, messages, appended)
    crashpoint("intake.after_append")
    return prepared.admissions


def admit(submission: Submission, event_log: EventLog) -> Admission:
    """Prepare and append one submission."""
    return append(prepare([submission]), event_log)[0]


def _groups(submissions: Sequence[Submission]) -> Iterable[list[int]]:
    """Submissions that one call of the mapping can take: JSON requests that differ in nothing but rows and receipt."""
    groups: dict[object, list[int]] = {}
    for number, submission in enumerate(submissions):
        is_request = not isinstance(submission.rows, pl.DataFrame) and submission.source == "request"
        alone = None if is_request and submission.first_row == 1 else number
        key = (id(submission.mapping), submission.workspace, submission.sent_at, alone)
        groups.setdefault(key, []).append(number)
    return groups.values()


class _Group:
    """Submissions that are mapped in one call. `owners[i]` and `numbers[i]`: whose row i is, and its number there."""

    def __init__(self, numbers: list[int], submissions: Sequence[Submission]) -> None:
        self.first = submissions[numbers[0]]
        self.rows: Sequence[bytes] | pl.DataFrame = self.first.rows
        if len(numbers) > 1:
            self.rows = [row for number in numbers for row in cast(Sequence[bytes], submissions[number].rows)]
        self.members = numbers
        self.owners = [number for number in numbers for _ in range(submissions[number].size)]
        self.numbers = [row_number for number in numbers for row_number in submissions[number].numbers()]
        self._receipts = pl.Series([submission.receipt_id for submission in submissions], dtype=pl.String)

    def prepare(self, prepared: Prepared) -> None:
        # Within a group of requests rows are counted through, and each gets its own number back afterwards.
        is_shared = len(self.members) > 1
        context = Context(
            workspace=self.first.workspace,
            received_at=self.first.received_at,
            receipt_id=self.first.receipt_id,
            source=self.first.source,
            first_row=self.first.first_row,
            row_numbers=self.first.row_numbers,
            sent_at=self.first.sent_at,
        )
        mapped = self.first.mapping.apply(self.rows, context)
        valid = mapped.valid.with_columns(pl.Series("row", mapped.valid_positions, dtype=pl.Int64))
        index_of = {
            number: row for row, number in enumerate(range(1, len(self.owners) + 1) if is_shared else self.numbers)
        }
        valid, too_large = self._split_too_large(valid)
        misshapen = self._reject_frame(self.first.misshapen)
        rejected = pl.concat([mapped.rejected, too_large, misshapen])
        rows = [index_of[_number_of(place)] for place in rejected["place"]]
        rejected = rejected.with_columns(pl.Series("row", rows, dtype=pl.Int64)).sort("row")
        if is_shared:
            valid = valid.with_columns(self._receipt_of(valid["row"]))
            places = [place_of("request", self.numbers[row]) for row in rejected["row"]]
            rejected = rejected.with_columns(
                self._receipt_of(rejected["row"]), pl.Series("place", places, dtype=pl.String)
            )
        self._encode(valid, rejected, prepared)
        self._account(valid, rejected, prepared.admissions)
        for name in ("unknown_fields", "type_changes"):
            # Counted for the whole group: drift is a matter of the network, not of one request.
            getattr(prepared.admissions[self.members[0]], name).update(getattr(mapped, name))

    def _receipt_of(self, rows: pl.Series) -> pl.Series:
        return self._receipts.gather([self.owners[row] for row in rows]).alias("receipt_id")

    def _split_too_large(self, valid: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Refuse rows whose message the log would not take: `raw` and `properties` hold much of a row twice."""
        size = pl.col("raw").str.len_bytes() + pl.col("properties").str.len_bytes()
        suspects = valid.filter(size > _SUSPECT_BYTES)
        large: set[int] = set()
        for suspect in suspects.iter_slices(1):
            value = next(iter(wire.encode(suspect).values()))[1][0]
            if len(value) + _KEY_BYTES > DEFAULT_MAX_MESSAGE_BYTES:
                large.add(suspect["row"][0])
        if not large:
            return valid, self._reject_frame([])
        detail = f"The row's message would pass the event log's limit of {DEFAULT_MAX_MESSAGE_BYTES:,} bytes."
        is_large = pl.col("row").is_in(list(large))
        rows = valid.filter(is_large).unique("row", keep="first", maintain_order=True).select("row", "raw")
        numbers = range(1, len(self.owners) + 1) if len(self.members) > 1 else self.numbers
        rejects = [Reject(numbers[row], "row_too_large", detail, "", raw.encode()) for row, raw in rows.iter_rows()]
        return valid.filter(~is_large), self._reject_frame(rejects)

    def _reject_frame(self, rejects: Sequence[Reject]) -> pl.DataFrame:
        return reject_frame(
            rejects,
            source=self.first.source,
            workspace=self.first.workspace,
            network=self.first.mapping.name,
            received_at=self.first.received_at,
            receipt_id=self.first.receipt_id,
        )

    def _encode(self, valid: pl.DataFrame, rejected: pl.DataFrame, prepared: Prepared) -> None:
        by_topic: dict[str, list[int]] = {}
        for type_name, row in valid.select("type", "row").iter_rows():
            by_topic.setdefault(TOPIC_OF_TYPE[type_name], []).append(self.owners[row])
        for topic, (keys, values) in wire.encode(valid).items():
            prepared.add(topic, keys, values, by_topic[topic])
        if rejected.height:
            keys, values = wire.encode_rejects(rejected)
            prepared.add(QUARANTINE, keys, values, [self.owners[row] for row in rejected["row"]])

    def _account(self, valid: pl.DataFrame, rejected: pl.DataFrame, admissions: list[Admission]) -> None:
        ids: dict[int, set[str]] = {number: set() for number in self.members}
        last_row = -1
        for row, event_id in valid.select("row", "event_id").iter_rows():
            admission, seen = admissions[self.owners[row]], ids[self.owners[row]]
            admission.events += 1
            is_duplicate = event_id in seen
            seen.add(event_id)
            if row == last_row:  # a further event of the same row; the row's verdict names the first
                continue
            last_row = row
            admission.accepted += 1
            admission.duplicates += is_duplicate
            if is_duplicate:
                detail = "An earlier row of this submission has the same event id."
                admission.verdicts.append(Verdict(self.numbers[row] - 1, event_id, "duplicate", "", detail))
            else:
                admission.verdicts.append(Verdict(self.numbers[row] - 1, event_id, "accepted"))
        for row, reason, detail in rejected.select("row", "reason", "detail").iter_rows():
            admission = admissions[self.owners[row]]
            admission.quarantined[reason] += 1
            admission.verdicts.append(Verdict(self.numbers[row] - 1, "", "quarantined", reason, detail))
        for number in self.members:
            admissions[number].verdicts.sort(key=lambda verdict: verdict.row)


def _number_of(place: str) -> int:
    parsed = parse_place(place)
    if parsed is None:
        raise RuntimeError(f"a reject's place {place!r} does not name its row")
    return parsed[1]


def _note_positions(admissions: list[Admission], messages: _Topic, appended: Appended) -> None:
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for owner, partition, offset in zip(messages.owners, appended.partitions, appended.offsets, strict=True):
        low, high = spans.get((owner, partition), (offset, offset))
        spans[owner, partition] = (min(low, offset), max(high, offset))
    for (owner, partition), (low, high) in spans.items():
        admissions[owner].positions.append(OffsetRange(appended.topic, partition, low, high + 1))
