"""A batch of messages as columns: events, and refused rows with the place they were read from.

Belongs here: putting the partitions of a batch together. Does not belong here: the wire format (`contracts.wire`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from contracts import wire
from contracts.envelope import STORED_SCHEMA
from contracts.event_types import QUARANTINE
from contracts.rejects import STORED_REJECT_SCHEMA
from resources.event_log.base import TopicPartition
from streaming.worker.batch import Batch
from streaming.worker.refused import as_rejects

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """Both frames are ordered by topic, partition and offset. Each message of the batch is in exactly one of them.

    `events` has STORED_SCHEMA; `rejects` STORED_REJECT_SCHEMA: rows that intake refused, and messages that
    cannot be read.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    rows: int


def decode_batch(batch: Batch) -> DecodedBatch:
    """Decode every message. Raises RuntimeError when a message has no verdict, which must never happen."""
    events = [pl.DataFrame(schema=STORED_SCHEMA)]
    rejects = [pl.DataFrame(schema=STORED_REJECT_SCHEMA)]
    for piece in batch.messages:
        if piece.topic == QUARANTINE:
            rejects.append(
                wire.decode_rejects(piece.values, piece.partition, piece.offsets, timestamps=piece.timestamps)
            )
            continue
        decoded = wire.decode(piece.values, piece.topic, piece.partition, piece.offsets, timestamps=piece.timestamps)
        if decoded.events.height + decoded.rejects.height != len(piece):
            raise RuntimeError(
                f"{piece.topic}/{piece.partition}: {len(piece)} messages became {decoded.events.height} events and "
                f"{decoded.rejects.height} rejects"
            )
        readable, foreign = _split_foreign_ids(decoded.events)
        events.append(readable)
        rejects += [decoded.rejects, foreign]
    return DecodedBatch(
        pl.concat(events, rechunk=True),
        pl.concat(rejects, rechunk=True).sort("log_topic", "log_partition", "log_offset"),
        batch.rows,
    )


def _split_foreign_ids(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Set aside messages whose id is no UUID: intake never writes such, so something else wrote to the topic."""
    is_uuid = events["event_id"].str.contains(_UUID)
    if is_uuid.all():
        return events, pl.DataFrame(schema=STORED_REJECT_SCHEMA)
    foreign = events.filter(~is_uuid)
    detail = pl.format("The message's event_id {} is no UUID.", pl.col("event_id").str.head(80))
    return events.filter(is_uuid), as_rejects(foreign, "invalid_id", detail, "event_id")


def watermarks(events: pl.DataFrame) -> dict[TopicPartition, int]:
    """Largest event_time per partition, in ms since the epoch."""
    newest = events.group_by("log_topic", "log_partition").agg(pl.col("event_time").max().dt.timestamp("ms"))
    return {TopicPartition(topic, partition): at for topic, partition, at in newest.iter_rows()}
