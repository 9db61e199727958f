"""The accounting equation over log positions: accepted = stored + duplicate + quarantined, and the holes by name.

Belongs here: counting verdicts against offsets. Does not belong here: repairing anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from assets.positions import offsets_text
from resources.event_log.base import EventLog, OffsetRange
from resources.raw_store.base import PositionRange, RawStore

ACCOUNT_SCHEMA = {
    "topic": pl.String(),
    "partition": pl.Int32(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "accepted": pl.Int64(),
    "stored": pl.Int64(),
    "duplicate": pl.Int64(),
    "quarantined": pl.Int64(),
    "missing": pl.Int64(),
    "holes": pl.String(),
}
"""One row per range. `accepted`: messages in it. `missing`: those without a verdict. `holes`: their offsets as text."""

_MOST_HOLES = 1000


def reconcile(raw_store: RawStore, log: EventLog, ranges: Sequence[PositionRange]) -> pl.DataFrame:
    """Account for every offset of the ranges (ACCOUNT_SCHEMA).

    A range is complete when its verdicts are as many as its offsets. Where they are fewer, an offset counts as missing
    unless the log shows that it never held a message (compaction and transactions leave such offsets in Kafka).
    """
    rows = []
    for where, counts in raw_store.verdicts(ranges).items():
        length = where.end - where.start
        missing: list[int] = []
        absent = 0
        if counts.total != length:
            holes = raw_store.missing_offsets(where, _MOST_HOLES)
            absent_offsets = _without_message(log, where, holes)
            missing = [offset for offset in holes if offset not in absent_offsets]
            absent = len(absent_offsets)
        accepted = length - absent
        rows.append(
            (
                *where,
                accepted,
                counts.stored,
                counts.duplicate,
                counts.quarantined,
                accepted - counts.total,
                offsets_text(missing),
            )
        )
    return pl.DataFrame(rows, schema=ACCOUNT_SCHEMA, orient="row").sort("topic", "partition", "start")


def balanced(account: pl.DataFrame) -> bool:
    """Whether every accepted message has exactly one verdict."""
    return bool((account["missing"] == 0).all())


def by_verdict(account: pl.DataFrame) -> pl.DataFrame:
    """The account per topic, with a total: `topic, accepted, stored, duplicate, quarantined, missing`."""
    numbers = ["accepted", "stored", "duplicate", "quarantined", "missing"]
    per_topic = account.group_by("topic").agg(pl.col(numbers).sum()).sort("topic")
    return pl.concat([per_topic, account.select(pl.lit("all").alias("topic"), pl.col(numbers).sum())])


def explain(account: pl.DataFrame, store: str) -> str:
    """Name what is missing, for a person: store, partition and offsets; empty when the account is balanced."""
    return "; ".join(
        f"{store}: {row['missing']:,} of {row['accepted']:,} messages of {row['topic']}/{row['partition']} "
        f"[{row['start']}, {row['end']}) have no verdict, offsets {row['holes']}"
        for row in account.filter(pl.col("missing") != 0).to_dicts()
    )


def _without_message(log: EventLog, where: PositionRange, offsets: Sequence[int]) -> set[int]:
    """Those of the offsets that the log still reaches and where it has no message."""
    if not offsets:
        return set()
    low, _ = log.watermarks(where.log_topic)[where.log_partition]
    readable = [offset for offset in offsets if offset >= low]
    if not readable:
        return set()
    span = OffsetRange(where.log_topic, where.log_partition, readable[0], readable[-1] + 1)
    there = {offset for messages in log.read([span]) for offset in messages.offsets}
    return set(readable) - there
