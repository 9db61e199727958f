"""A batch of messages as columns: events, and refused rows with the place they were read from.

Belongs here: putting the partitions of a batch together. Does not belong here: the wire format (`contracts.wire`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import polars as pl

from contracts import wire
from contracts.envelope import STORED_SCHEMA
from contracts.event_types import QUARANTINE
from contracts.rejects import STORED_REJECT_SCHEMA
from resources.event_log.base import Messages, TopicPartition
from streaming.worker.batch import Batch
from streaming.worker.refused import as_rejects

_NOWHERE = -1  # stands for the partition until the rows of a topic are told apart again
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
    for topic, pieces in groupby(batch.messages, key=lambda piece: piece.topic):
        readable, refused = _decode_topic(topic, list(pieces))
        events.append(readable)
        rejects.append(refused)
    decoded = DecodedBatch(pl.concat(events, rechunk=True), pl.concat(rejects, rechunk=True), batch.rows)
    if decoded.events.height + decoded.rejects.height != batch.rows:
        raise RuntimeError(
            f"{batch.rows} messages of {batch.ranges} became {decoded.events.height} events and "
            f"{decoded.rejects.height} rejects"
        )
    return decoded


def _decode_topic(topic: str, pieces: list[Messages]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decode the partitions of a topic in one go, because a call has a fixed cost; then put each row in its place."""
    values = [value for piece in pieces for value in piece.values]
    timestamps = [timestamp for piece in pieces for timestamp in piece.timestamps]
    numbers = range(len(values))
    if topic == QUARANTINE:
        events = pl.DataFrame(schema=STORED_SCHEMA)
        rejects = wire.decode_rejects(values, _NOWHERE, numbers, timestamps=timestamps)
    else:
        decoded = wire.decode(values, topic, _NOWHERE, numbers, timestamps=timestamps)
        events, foreign = _split_foreign_ids(decoded.events)
        rejects = pl.concat([decoded.rejects, foreign])
    partitions = pl.Series([p.partition for p in pieces for _ in range(len(p))], dtype=pl.Int32)
    offsets = pl.Series([offset for piece in pieces for offset in piece.offsets], dtype=pl.Int64)
    events, rejects = (_in_place(frame, partitions, offsets) for frame in (events, rejects))
    if rejects.height:
        # Only what the log itself shows to be wrong is named by its place in it; other rejects keep their own.
        here = pl.col("place").str.starts_with(f"{topic}/{_NOWHERE}@")
        place = pl.format("{}/{}@{}", "log_topic", "log_partition", "log_offset")
        rejects = rejects.with_columns(place=pl.when(here).then(place).otherwise("place"))
    return events, rejects.sort("log_topic", "log_partition", "log_offset")


def _in_place(frame: pl.DataFrame, partitions: pl.Series, offsets: pl.Series) -> pl.DataFrame:
    number = frame["log_offset"]
    return frame.with_columns(
        partitions.gather(number).alias("log_partition"), offsets.gather(number).alias("log_offset")
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
