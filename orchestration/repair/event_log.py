"""Put the event log right where its stores agree on what a message said: write the message again, at its offset.

Belongs here: encoding it as intake does, and proving that it reads back as the row. Does not belong here: deciding that
the log is wrong (`serving.audit.judge`).
"""

from __future__ import annotations

import polars as pl

from contracts import wire
from contracts.event_types import QUARANTINE
from orchestration.repair.positions import batch_of, known, truths
from resources.event_log.base import MendableLog, Messages, TopicPartition
from serving.audit.places import positions_of
from serving.audit.stores import AuditStores


def repair_log(stores: AuditStores, findings: pl.DataFrame) -> int:
    """Write the findings' messages again; returns how many. What lay there is kept aside by the log.

    A log that takes messages at its end alone (Kafka) is left as it is, and so is a position of which no two stores
    say the same. Raises EventLogError when the log cannot be written.
    """
    log = stores.log
    if not isinstance(log, MendableLog):
        return 0
    positions = positions_of(findings)
    written = 0
    for truth in truths(stores, positions):
        mine = known(truth, positions)
        batch = batch_of(truth, mine)
        for frame in (batch.events, batch.rejects):
            for (topic, partition), rows in frame.group_by("log_topic", "log_partition", maintain_order=True):
                keys, values = _encode(rows, str(topic))
                offsets = rows["log_offset"].to_list()
                place = TopicPartition(str(topic), int(str(partition)))
                right = _reads_back(stores, place, rows, values)
                log.restore(
                    place,
                    [offset for offset in offsets if offset in right],
                    [key for offset, key in zip(offsets, keys, strict=True) if offset in right],
                    [value for offset, value in zip(offsets, values, strict=True) if offset in right],
                )
                written += len(right)
    return written


def _encode(rows: pl.DataFrame, topic: str) -> tuple[list[bytes], list[bytes]]:
    if topic == QUARANTINE:
        return wire.encode_rejects(rows)
    return wire.encode(rows)[topic]


def _reads_back(stores: AuditStores, place: TopicPartition, rows: pl.DataFrame, values: list[bytes]) -> set[int]:
    """Offsets of those rows that their messages, read again, give to the letter."""
    offsets = rows["log_offset"].to_list()
    messages = Messages(*place, offsets, [0] * len(offsets), [None] * len(offsets), values)
    frames = (frame for frame in stores.decode([messages]) if frame.columns == rows.columns)
    read = {row["log_offset"]: row for frame in frames for row in frame.iter_rows(named=True)}
    return {row["log_offset"] for row in rows.iter_rows(named=True) if read.get(row["log_offset"]) == row}
