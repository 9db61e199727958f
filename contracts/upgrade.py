"""Schema versions: what differed in the version before, and reading it as this one, in columns.

Version 1 named the actor `user`, the type `name` and the time `ts`; it had no `campaign`, `topics` or `time_flag`.
Belongs here: differences between versions of the envelope. Does not belong here: checks of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from contracts.envelope import SCHEMA_VERSION

READABLE_VERSIONS = (SCHEMA_VERSION - 1, SCHEMA_VERSION)

V1_COLUMNS: Mapping[str, str] = MappingProxyType({"user": "actor", "ts": "occurred_at", "name": "type"})
"""Old name → name since version 2."""

_NEW_IN_V2: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "campaign": pl.lit(""),
        "topics": pl.lit([], dtype=pl.List(pl.String)),
        "time_flag": pl.lit("ok"),
    }
)


def upgrade_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill the columns of this version in rows of version 1, and drop the columns that only version 1 had.

    `frame` has the columns of both versions and `schema_version` as an integer. Upgraded rows get the new number;
    rows of other versions stay as they are.
    """
    old_columns = [name for name in V1_COLUMNS if name in frame.columns]
    first = frame["schema_version"] == SCHEMA_VERSION - 1
    if not first.any():
        return frame.drop(old_columns)
    is_old = pl.col("schema_version") == SCHEMA_VERSION - 1
    moved = [
        pl.when(is_old).then(pl.col(old)).otherwise(pl.col(V1_COLUMNS[old])).alias(V1_COLUMNS[old])
        for old in old_columns
    ]
    filled = [
        pl.when(is_old & pl.col(name).is_null()).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in _NEW_IN_V2.items()
        if name in frame.columns
    ]
    version = pl.when(is_old).then(pl.lit(SCHEMA_VERSION)).otherwise(pl.col("schema_version")).alias("schema_version")
    return frame.with_columns(*moved, *filled, version.cast(frame.schema["schema_version"])).drop(old_columns)
