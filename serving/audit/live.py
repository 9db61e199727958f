"""ClickHouse's base tables against the truth: `events`, `live_rejects` and the identity index, by log position.

Belongs here: this comparison. Does not belong here: rollups (`rollups`), slices (`slices`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from resources.archive.ranges import within
from resources.clickhouse import Client
from resources.raw_store.base import PositionRange, RawStore
from serving.audit.clickhouse_rows import (
    KEY_SCHEMA,
    LIVE_SCHEMA,
    VERDICT_SCHEMA,
    events_at,
    keys_at,
    stored_positions,
    verdicts_at,
)
from serving.audit.findings import POSITION, build, join_all
from serving.audit.places import ranges_of
from serving.audit.rows import compare_rows, minute_of_event
from serving.audit.truth import Truth
from serving.audit.witnesses import STORE_REFUSED

_PLACES = list(POSITION)
_IDENTITY = ["workspace", "event_id"]


def compare_live(
    client: Client, raw_store: RawStore, truth: Truth, ranges: Sequence[PositionRange], raw_duplicates: pl.DataFrame
) -> tuple[pl.DataFrame, int]:
    """Findings and rows read, in these ranges, all of them taken by the live group.

    `raw_duplicates`: what the raw store calls duplicates there. Beyond the log's memory the live group may have stored
    another row of an identity than the raw store did; such a row cannot be compared with anything. That
    ClickHouse would not take an event it says alone: the raw store must have refused it too.
    """
    here = within(ranges)
    events = truth.events.filter(here).select(*LIVE_SCHEMA, minute_of_event)
    held, verdicts, keys = events_at(client, ranges), verdicts_at(client, ranges), keys_at(client, ranges)
    decoded = within(truth.decoded)
    duplicates = verdicts.filter(pl.col("verdict") == "duplicate")
    right = _right_duplicates(client, raw_store, events, duplicates)
    refused = verdicts.filter(pl.col("verdict") == "quarantined")
    impossible = refused.filter(pl.col("reason") == STORE_REFUSED).join(events, on=_PLACES, how="semi")
    excused = _refused_too(raw_store, impossible)
    expected = events.join(right, on=_PLACES, how="anti").join(excused, on=_PLACES, how="anti")
    other_winner = held.filter(~decoded).join(raw_duplicates, on=[*_PLACES, *_IDENTITY], how="semi")
    comparable = held.join(other_winner, on=_PLACES, how="anti").filter(~within(truth.unknown))
    rejects = truth.rejects.filter(here)
    findings = [
        compare_rows("ClickHouse", "events", expected, comparable.with_columns(minute_of_event), list(LIVE_SCHEMA)),
        build(
            "ClickHouse",
            "unexpected",
            "live_rejects",
            duplicates.filter(decoded).join(right, on=_PLACES, how="anti"),
        ),
        compare_rows(
            "ClickHouse",
            "live_rejects",
            _as_verdicts(rejects),
            refused.filter(decoded).join(impossible, on=_PLACES, how="anti"),
            list(VERDICT_SCHEMA),
        ),
        build("ClickHouse", "refused", "live_rejects", impossible.join(excused, on=_PLACES, how="anti")),
        compare_rows(
            "ClickHouse",
            "live_rejects",
            right.unique(_PLACES).with_columns(reason=pl.lit("duplicate")),
            right.unique(_PLACES),
            ["reason"],
        ),
        _twice(held, verdicts),
        _index(expected, keys.join(other_winner, on=_PLACES, how="anti").filter(~within(truth.unknown))),
    ]
    return join_all(findings), held.height + verdicts.height + keys.height


def _refused_too(raw_store: RawStore, impossible: pl.DataFrame) -> pl.DataFrame:
    """Those of the positions that the raw store would not take either."""
    if impossible.is_empty():
        return impossible
    refused = raw_store.read_refused(ranges_of(impossible.select(_PLACES).unique()))
    return impossible.join(refused.filter(pl.col("reason") == STORE_REFUSED), on=_PLACES, how="semi")


def _right_duplicates(
    client: Client, raw_store: RawStore, events: pl.DataFrame, duplicates: pl.DataFrame
) -> pl.DataFrame:
    """Duplicates that name the event of their position, while `events` holds this event at another one.

    Where `events` does not hold it at all, the raw store tells where it was first: the row there is missing, and
    that alone is wrong.
    """
    if duplicates.is_empty():
        return duplicates
    names = ["workspace", "network", "event_id", "receipt_id", "received_at"]
    claimed = duplicates.join(events.select(*_PLACES, *names), on=[*_PLACES, *names], how="semi")
    stored = stored_positions(client, claimed.select(_IDENTITY))
    gone = claimed.select(_IDENTITY).unique().join(stored, on=_IDENTITY, how="anti")
    if not gone.is_empty():
        stored = pl.concat([stored, raw_store.positions_of(gone).select(stored.columns)])
    elsewhere = claimed.join(stored, on=_IDENTITY, how="inner").filter(
        pl.any_horizontal(pl.col(name) != pl.col(f"{name}_right") for name in POSITION)
    )
    return claimed.join(elsewhere, on=_PLACES, how="semi")


def _as_verdicts(rejects: pl.DataFrame) -> pl.DataFrame:
    return rejects.with_columns(verdict=pl.lit("quarantined"), event_id=pl.lit("")).select(
        pl.col(name).cast(dtype) for name, dtype in VERDICT_SCHEMA.items()
    )


def _twice(held: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    both = held.select(_PLACES).unique().join(verdicts.select(_PLACES), on=_PLACES, how="semi")
    return build(
        "ClickHouse", "doubled", "verdicts", both.with_columns(pl.lit("events and live_rejects").alias("found"))
    )


def _index(expected: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The identity index says of each event that should be stored where it is, and of nothing else."""
    return compare_rows("ClickHouse", "event_positions", expected, keys, list(KEY_SCHEMA))
