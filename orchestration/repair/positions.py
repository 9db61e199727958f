"""Log positions that findings name, and what should be there.

Belongs here: what repairs by position share. Does not belong here: writing.
"""

from __future__ import annotations

import polars as pl

from contracts.envelope import POSITION_SCHEMA
from resources.archive.ranges import within
from resources.raw_store.base import PositionRange
from serving.audit.archive import inspect_archive
from serving.audit.findings import POSITION
from serving.audit.stores import AuditStores, groups, read_reach
from serving.audit.truth import Truth, read_truth
from streaming.worker.decode import DecodedBatch


def positions_of(findings: pl.DataFrame) -> pl.DataFrame:
    """The log positions of findings (POSITION_SCHEMA), each once, in order."""
    placed = findings.filter(pl.col("log_topic") != "", pl.col("log_offset").is_not_null())
    return placed.select(pl.col(name).cast(dtype) for name, dtype in POSITION_SCHEMA.items()).unique().sort(POSITION)


def ranges_of(positions: pl.DataFrame) -> list[PositionRange]:
    """The positions as ranges: neighbours make one."""
    place = ["log_topic", "log_partition"]
    run = (pl.col("log_offset") - pl.int_range(pl.len()).over(place)).alias("run")
    spans = (
        positions.sort(POSITION)
        .with_columns(run)
        .group_by(*place, "run", maintain_order=True)
        .agg(pl.col("log_offset").min().alias("low"), pl.col("log_offset").max().alias("high"))
    )
    return [PositionRange(topic, partition, low, high + 1) for topic, partition, _, low, high in spans.iter_rows()]


def truths(stores: AuditStores, positions: pl.DataFrame) -> list[Truth]:
    """What the log or a whole archive part says about the positions, in pieces of bounded size.

    Beyond the log's end it says that nothing is there.
    """
    state = inspect_archive(stores.archive, stores.clickhouse)
    reach = read_reach(stores.log)
    return [read_truth(stores, reach, group, state.parts, state.broken) for group in groups(ranges_of(positions))]


def known(truth: Truth, positions: pl.DataFrame) -> pl.DataFrame:
    """Those of the positions that the truth speaks for."""
    return positions.filter(within(truth.ranges) & ~within(truth.unknown))


def batch_of(truth: Truth, positions: pl.DataFrame) -> DecodedBatch:
    """The positions' events and refused rows, as the input workers get them."""
    events = truth.events.join(positions, on=list(POSITION), how="semi", maintain_order="left").sort(POSITION)
    rejects = truth.rejects.join(positions, on=list(POSITION), how="semi", maintain_order="left").sort(POSITION)
    return DecodedBatch(events, rejects, events.height + rejects.height)
