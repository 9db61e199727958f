"""What goes into applying a mapping, and what comes out of it.

Belongs here: the types of `contracts.mapping`'s interface. Does not belong here: doing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl


@dataclass(frozen=True, slots=True)
class Context:
    """What a batch of rows comes with: who sent it, when it was taken, and where its rows are.

    `source` is "request" or a file's name. `first_row` is the number (from 1) of the first row there; `row_numbers`
    gives the numbers instead where they are not consecutive (a replay). `sent_at` is the sender's clock at sending.
    """

    workspace: str
    received_at: datetime
    receipt_id: str
    source: str = "request"
    first_row: int = 1
    row_numbers: Sequence[int] | None = None
    sent_at: datetime | None = None
    clock_offset_ms: int | None = None

    def row_number(self, position: int) -> int:
        return self.first_row + position if self.row_numbers is None else self.row_numbers[position]


@dataclass(frozen=True, slots=True)
class MappedBatch:
    """The verdict on every row of a batch: `valid` (EVENT_SCHEMA) and `rejected` (REJECT_SCHEMA), both in input order.

    A row is refused whole: either all its events are valid, or it is in `rejected` once. `extra_events` counts the
    events that rows gave beyond their first, so always:
    `rows_read = (valid.height - extra_events) + rejected.height`.
    `unknown_fields` and `type_changes` count, per field, rows with a field the mapping does not know, or with a value
    of another JSON type than it expects. Such rows are kept. `valid_positions[i]` is the position in the input (from 0)
    of the row that gave `valid`'s row i.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame
    rows_read: int
    extra_events: int = 0
    valid_positions: Sequence[int] = ()
    unknown_fields: Mapping[str, int] = field(default_factory=dict)
    type_changes: Mapping[str, int] = field(default_factory=dict)
