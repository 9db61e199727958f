"""What became of the rows of one request, as far as it is known: stored, duplicate, quarantined, on their way.

Belongs here: putting the raw store's verdicts and the log's unread messages together. Does not belong here: HTTP
(`app`), the answer's JSON (`answers`).

The log keeps no list of receipts. A receipt is a UUIDv7, so it says when its request came: what the raw group has not
read and was appended since then is looked through. A row that is stored meanwhile is counted once, by its verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import orjson
import polars as pl

from contracts.event_types import TOPICS
from resources.event_log.base import EventLog, OffsetRange, TopicPartition
from resources.raw_store.base import RECEIPT_ROWS_SCHEMA, RawStore
from streaming.topics import GROUP_RAW

MOST_VERDICTS = 1_000
MOST_MESSAGES = 200_000
"""Unread messages that one question looks through; with a longer backlog the answer says that it does not know."""

_CLOCKS_MS = 60_000  # by how much the clocks of collector and log may differ


@dataclass(slots=True)
class Receipt:
    """Counts are of messages: a row may have become several. `rows` are the first `MOST_VERDICTS` of them.

    `rows`: RECEIPT_ROWS_SCHEMA with the further verdict `on_the_way`. `is_settled`: no message is on its way; None
    where the backlog is too long to know.
    """

    receipt_id: str
    counts: dict[str, int]
    reasons: dict[str, int] = field(default_factory=dict)
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    is_settled: bool | None = True


def look_up(event_log: EventLog, raw_store: RawStore, workspace: str, receipt_id: str) -> Receipt | None:
    """Return what is known of the workspace's receipt; None when that is nothing, or it is another workspace's.

    Raises LogUnavailableError, RawStoreUnavailableError.
    """
    at_ms = _time_of(receipt_id)
    if at_ms is None:
        return None
    # The log first: what is taken between the two questions is then seen twice, and never not at all.
    found, is_complete = _on_the_way(event_log, receipt_id, at_ms)
    raw_store.ensure_schema()  # the collector may be asked before any worker wrote
    rows = raw_store.receipt_rows(receipt_id, MOST_VERDICTS)
    account = raw_store.receipt(receipt_id)
    place = ["log_topic", "log_partition", "log_offset"]
    waiting = pl.DataFrame(found, schema=RECEIPT_ROWS_SCHEMA, orient="row").join(rows, on=place, how="anti")
    known = pl.concat([rows, waiting]).sort(place)
    if known.is_empty() or set(known["workspace"]) != {workspace}:
        return None
    counts = {name: int(str(account[name])) for name in ("stored", "duplicate", "quarantined")}
    reasons = account["reasons"]
    return Receipt(
        receipt_id,
        {**counts, "on_the_way": waiting.height},
        reasons if isinstance(reasons, dict) else {},
        known.head(MOST_VERDICTS),
        waiting.is_empty() if is_complete else None,
    )


def _time_of(receipt_id: str) -> int | None:
    """When the receipt was made, in ms since the epoch; None when it is none of ours."""
    try:
        parsed = UUID(receipt_id)
    except ValueError:
        return None
    return parsed.int >> 80 if parsed.version == 7 else None


def _on_the_way(event_log: EventLog, receipt_id: str, at_ms: int) -> tuple[list[tuple[object, ...]], bool]:
    """Messages of the receipt that the raw group has not taken, and whether all that are unread were looked through."""
    commits = event_log.group_commits(GROUP_RAW)
    unread = []
    for topic in TOPICS:
        since = event_log.offsets_at(topic, at_ms - _CLOCKS_MS)
        for partition, (low, high) in event_log.watermarks(topic).items():
            commit = commits.get(TopicPartition(topic, partition))
            start = max(low, since.get(partition, low), commit.offset if commit else 0)
            if start < high:
                unread.append(OffsetRange(topic, partition, start, high))
    if sum(place.end - place.start for place in unread) > MOST_MESSAGES:
        return [], False
    wanted = receipt_id.encode()
    found: list[tuple[object, ...]] = []
    for chunk in event_log.read(unread):
        for offset, value in zip(chunk.offsets, chunk.values, strict=True):
            if value is not None and wanted in value:
                row = _row(value, receipt_id)
                found += [(*row, chunk.topic, chunk.partition, offset)] if row else []
    return found, True


def _row(value: bytes, receipt_id: str) -> tuple[str, ...] | None:
    """The verdict of a message that is on its way; None when it only mentions the receipt."""
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict) or message.get("receipt_id") != receipt_id:
        return None
    names = ("workspace", "event_id", "reason", "detail", "place")
    return ("on_the_way", *(str(message.get(name, "")) for name in names))
