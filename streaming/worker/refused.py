"""Events that turn out not to be acceptable after all, as rejects.

Belongs here: the one shape of such a reject. Does not belong here: finding the rows (`isolate`, `decode`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from contracts.rejects import STORED_REJECT_SCHEMA
from streaming.worker.isolate import Poison


def as_rejects(events: pl.DataFrame, reason: str, detail: pl.Expr, field: str = "") -> pl.DataFrame:
    """Turn events (STORED_SCHEMA) into STORED_REJECT_SCHEMA rows; the payload is the row as it came."""
    return events.select(
        reason=pl.lit(reason),
        detail=detail,
        field=pl.lit(field),
        place=pl.format("{}/{}@{}", "log_topic", "log_partition", "log_offset"),
        workspace="workspace",
        network="network",
        received_at="received_at",
        receipt_id="receipt_id",
        payload=pl.col("raw").cast(pl.Binary),
        log_topic="log_topic",
        log_partition="log_partition",
        log_offset="log_offset",
    ).select(pl.col(name).cast(dtype) for name, dtype in STORED_REJECT_SCHEMA.items())


def poison_rejects(poison: Sequence[Poison], store: str) -> pl.DataFrame:
    """Return one reject per row that `store` refused, with the store's words."""
    refused = [
        as_rejects(item.rows, "store_refused", pl.lit(f"{store} refused the row: {item.error}"[:500]))
        for item in poison
    ]
    return pl.concat([pl.DataFrame(schema=STORED_REJECT_SCHEMA), *refused])
