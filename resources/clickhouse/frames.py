"""Polars frames into and out of ClickHouse, as Arrow.

Belongs here: one insert = one block = one deduplication token. Does not belong here: which frame, and when.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client

# A frame must become one block: a token covers a block, and a repeat must be the same block.
_ONE_BLOCK = {
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 4 << 30,
    "input_format_parallel_parsing": 0,
    "max_partitions_per_insert_block": 0,
    "async_insert": 0,
    # Views hand over grouped rows: merging a block with itself on insert costs a fifth of the insert and finds nothing.
    "optimize_on_insert": 0,
}


def insert_frame(
    client: Client,
    table: str,
    frame: pl.DataFrame,
    *,
    token: str | None = None,
    columns: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Insert a frame as one block and return its rows.

    `columns` (default: the frame's) must exist in the table. With a `token` the block is written once, in the table and
    in every view on it, however often this is called, also after a crash in between. Without one, every call writes.
    """
    if frame.is_empty():
        return 0
    chosen = frame.select(columns) if columns is not None else frame
    arrow = chosen.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    deduplication = {
        # Our tables remember blocks, and without a token by their content: an equal frame would be dropped.
        "insert_deduplication_token": token or uuid.uuid4().hex,
        "insert_deduplicate": 1,
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }
    one = pa.Table.from_batches([arrow.combine_chunks().to_batches(max_chunksize=len(arrow))[0]])
    client.insert_arrow(table, one, settings={**_ONE_BLOCK, **deduplication, **(settings or {})})
    return chosen.height


def query_frame(
    client: Client,
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """Run a query with typed parameters (`{name:Type}`) and return its result.

    DateTime64 arrives as UTC datetimes, DateTime as UInt32 seconds since the epoch (Arrow has no such type there).
    """
    table = client.query_arrow(sql, parameters=dict(parameters or {}), settings=dict(settings or {}), use_strings=True)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 # from_arrow of a table is always a frame
    return frame
