"""Which events of a batch are new: the one place where the live path decides about duplicates.

Belongs here: the decision, as columns. Does not belong here: fetching known positions (`live`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

POSITION = ("log_topic", "log_partition", "log_offset")
KNOWN_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),
    "event_key": pl.String(),  # the id's 32 hexadecimal digits, lower case
    "log_topic": pl.String(),
    "log_partition": pl.Int32(),
    "log_offset": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """Every row of the batch is in one of these, in the order given."""

    new: pl.DataFrame
    duplicates: pl.DataFrame
    seen_again: pl.DataFrame


def event_keys(events: pl.DataFrame) -> pl.Series:
    """Return each event id's 32 hexadecimal digits."""
    return events["event_id"].str.replace_all("-", "", literal=True).alias("event_key")


def judge(events: pl.DataFrame, known: pl.DataFrame, *, recovering: bool) -> Judged:
    """Sort rows (STORED_SCHEMA, by topic, partition, offset) into new, duplicate and seen again.

    `known` (KNOWN_SCHEMA) holds the positions under which these ids are stored already. A row known at its own position
    is the same row met again: skipped in a replay; written again when `recovering`, so that views the crash left
    without it are completed (the token makes the rest a no-op). Of equal ids in the batch the first wins.
    """
    keyed = events.with_columns(event_keys(events))
    first = keyed.select(pl.struct("workspace", "event_key").is_first_distinct()).to_series()
    if known.is_empty():
        return Judged(events.filter(first), events.filter(~first), events.clear())
    elsewhere = keyed.join(known, on=["workspace", "event_key"], how="left", maintain_order="left").select(
        pl.col("log_topic_right").is_not_null().alias("known"),
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_right")) for name in POSITION).alias("own"),
        *POSITION,
    )
    by_row = elsewhere.group_by(POSITION, maintain_order=True).agg(pl.col("known").any(), pl.col("own").any())
    own, other = by_row["own"], by_row["known"]
    new = ~own & ~other & first
    if recovering:
        new |= own
        own = pl.repeat(value=False, n=events.height, dtype=pl.Boolean(), eager=True)
    return Judged(events.filter(new), events.filter(~new & ~own), events.filter(own))
