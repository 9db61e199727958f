"""The event envelope as columns: the one schema every hop reads and writes.

Belongs here: column names, dtypes and the constants of the three-times rule. Does not belong here: how a network's
rows become these columns (`contracts.mapping`) or how they travel (`contracts.wire`).

All times are UTC with millisecond resolution. An absent text value is the empty string, never null, because the
stores group by these columns; `properties` and `raw` are JSON text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

UTC_MS = pl.Datetime("ms", "UTC")

SCHEMA_VERSION = 2
"""Version of the envelope this release writes; it reads this one and the one before."""

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),  # tenant: the account that owns the write key
    "event_id": pl.String(),  # identity within the workspace: lower-case UUID text
    "type": pl.String(),  # a name from contracts.event_types, e.g. "post.created"
    "network": pl.String(),  # e.g. "wikipedia", "bluesky", "app"
    "actor": pl.String(),  # who did it, in the network's own id space
    "object": pl.String(),  # what it was done to ('' where nothing)
    "campaign": pl.String(),  # '' where none
    "topics": pl.List(pl.String()),  # folded hashtags, each once
    "properties": pl.String(),  # a JSON object with everything specific to the type or the network
    "occurred_at": UTC_MS,  # as the device or the source said
    "received_at": UTC_MS,  # when Tally took it
    "event_time": UTC_MS,  # the corrected time, used for every window
    "time_flag": pl.String(),  # 'ok', 'corrected' (clock offset applied) or 'future' (received_at used)
    "sdk": pl.String(),  # e.g. "python/0.1.0", "mapping/wikipedia@1"
    "schema_version": pl.UInt16(),
    "receipt_id": pl.String(),  # one id per request or file load: the handle of its account
    "raw": pl.String(),  # the row exactly as it came
}

POSITION_SCHEMA: dict[str, pl.DataType] = {
    "log_topic": pl.String(),
    "log_partition": pl.Int32(),
    "log_offset": pl.Int64(),
}

STORED_SCHEMA: dict[str, pl.DataType] = {**EVENT_SCHEMA, **POSITION_SCHEMA}
"""An event with the place in the event log that it was read from."""

REJECT_SCHEMA: dict[str, pl.DataType] = {
    "reason": pl.String(),  # a stable code from contracts.rejects, e.g. "missing_field"
    "detail": pl.String(),  # one sentence for a person; names the value
    "field": pl.String(),  # '' where the whole row is at fault
    "place": pl.String(),  # where: "row 17 of edits.json", "item 3 of the request", "content-events/2@1841"
    "workspace": pl.String(),
    "network": pl.String(),
    "received_at": UTC_MS,
    "receipt_id": pl.String(),
    "payload": pl.Binary(),  # the bytes as they came, not decoded
}
"""A row that was refused: what is wrong, where, and the row itself. Stored with POSITION_SCHEMA columns too."""

FUTURE_TOLERANCE = timedelta(minutes=5)
"""An `occurred_at` further ahead of `received_at` than this is replaced by `received_at` and flagged `future`."""

EARLIEST_EVENT_TIME = datetime(1995, 1, 1, tzinfo=UTC)
"""Before this no social network had an event to record: such a time is a broken clock and is quarantined."""
