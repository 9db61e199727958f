"""The raw store against the truth: events, duplicates and refused rows of some log positions.

Belongs here: this comparison, and which of the true events the store is right not to hold. Does not belong here:
repairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from contracts.envelope import REJECT_SCHEMA, STORED_SCHEMA
from contracts.event_types import QUARANTINE
from contracts.rejects import STORED_REJECT_SCHEMA
from resources.archive.ranges import within
from resources.clickhouse import Client
from resources.raw_store.base import PositionRange, RawStore
from serving.audit.clickhouse_rows import stored_positions, verdicts_at
from serving.audit.findings import POSITION, build, join_all
from serving.audit.places import ranges_of
from serving.audit.rows import compare_rows, minute_of_event
from serving.audit.truth import Truth
from serving.audit.witnesses import STORE_REFUSED

_PLACES = list(POSITION)
_IDENTITY = ("workspace", "event_id")

# What is wrong with a message that cannot be read is said in words of the release that read it.
_REFUSED = tuple(name for name in REJECT_SCHEMA if name not in {"detail", "reason", "field"})


@dataclass(frozen=True, slots=True)
class RawCompared:
    """`expected`: the true events that the store should hold (STORED_SCHEMA); the archive should hold the same.

    `duplicates`: positions it rightly holds no event for, with the identity that is stored elsewhere.
    """

    findings: pl.DataFrame
    expected: pl.DataFrame
    duplicates: pl.DataFrame
    rows: int


def compare_raw(store: RawStore, client: Client, truth: Truth, ranges: Sequence[PositionRange]) -> RawCompared:
    """Compare the store with the truth in these ranges, all of them taken by the raw group.

    `client` (ClickHouse) is asked where the first row of a duplicate is gone, and where the store says it did not take
    an event: ClickHouse must have refused it too.
    """
    here = within(ranges)
    events, rejects = truth.events.filter(here), truth.rejects.filter(here)
    held = pl.concat([pl.DataFrame(schema=STORED_SCHEMA), *store.read_events(ranges)])
    duplicates, refused = store.read_duplicates(ranges), store.read_refused(ranges)
    right = _right_duplicates(store, client, events, duplicates, truth)
    impossible = refused.filter(pl.col("reason") == STORE_REFUSED).join(events, on=_PLACES, how="semi")
    excused = _refused_too(client, impossible)
    expected = events.join(right, on=_PLACES, how="anti").join(excused, on=_PLACES, how="anti")
    known = ~within(truth.unknown)
    decoded = within(truth.decoded)
    findings = [
        compare_rows(
            "raw store",
            "events",
            expected.with_columns(minute_of_event),
            held.filter(known).with_columns(minute_of_event),
            list(STORED_SCHEMA),
        ),
        build("raw store", "unexpected", "duplicates", duplicates.filter(decoded).join(right, on=_PLACES, how="anti")),
        compare_rows(
            "raw store",
            "quarantine",
            rejects,
            refused.filter(decoded).join(impossible, on=_PLACES, how="anti").select(list(STORED_REJECT_SCHEMA)),
            _REFUSED,
        ),
        _intake_words(rejects, refused),
        build("raw store", "refused", "quarantine", impossible.join(excused, on=_PLACES, how="anti")),
        _twice(held, duplicates, refused),
    ]
    return RawCompared(join_all(findings), expected, duplicates, held.height + duplicates.height + refused.height)


def _refused_too(client: Client, impossible: pl.DataFrame) -> pl.DataFrame:
    """Those of the positions that ClickHouse would not take either."""
    if impossible.is_empty():
        return impossible
    verdicts = verdicts_at(client, ranges_of(impossible.select(_PLACES).unique()))
    return impossible.join(verdicts.filter(pl.col("reason") == STORE_REFUSED), on=_PLACES, how="semi")


def _right_duplicates(
    store: RawStore, client: Client, events: pl.DataFrame, duplicates: pl.DataFrame, truth: Truth
) -> pl.DataFrame:
    """Duplicates that name the event of their position, while the store holds this event at another one.

    Where the store does not hold it at all, ClickHouse tells where it was first: the row there is missing, and that
    alone is wrong.
    """
    if duplicates.is_empty():
        return duplicates
    same = duplicates.filter(within(truth.decoded)).join(
        events.select(*_PLACES, *_IDENTITY, "receipt_id"), on=[*_PLACES, *_IDENTITY, "receipt_id"], how="semi"
    )
    older = duplicates.filter(~within(truth.decoded))
    claimed = pl.concat([same, older])
    stored = store.positions_of(claimed.select(_IDENTITY).unique())
    gone = claimed.select(_IDENTITY).unique().join(stored, on=_IDENTITY, how="anti")
    if not gone.is_empty():
        stored = pl.concat([stored, stored_positions(client, gone).select(stored.columns)])
    elsewhere = claimed.join(stored, on=_IDENTITY, how="inner").filter(
        pl.any_horizontal(pl.col(name) != pl.col(f"{name}_right") for name in POSITION)
    )
    return claimed.join(elsewhere, on=_PLACES, how="semi")


def _intake_words(rejects: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Of rows that intake refused, the reason travels in the message, so it must be kept to the letter."""
    words = ("reason", "detail", "field")
    mine = rejects.filter(pl.col("log_topic") == QUARANTINE)
    held = refused.filter(pl.col("log_topic") == QUARANTINE).unique(_PLACES).join(mine, on=_PLACES, how="semi")
    return compare_rows("raw store", "quarantine", mine.join(held, on=_PLACES, how="semi"), held, words)


def _twice(held: pl.DataFrame, duplicates: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Positions with verdicts of two kinds: each has exactly one."""
    kinds = [
        frame.select(_PLACES).unique().with_columns(pl.lit(kind).alias("kind"))
        for kind, frame in (("events", held), ("duplicates", duplicates), ("quarantine", refused))
    ]
    several = pl.concat(kinds).group_by(_PLACES).agg(pl.col("kind").sort().str.join(" and ").alias("found"), pl.len())
    return build("raw store", "doubled", "verdicts", several.filter(pl.col("len") > 1))
