"""What the auditor has found and how far it is, kept in ClickHouse for `tally status`, Dagster's sensor and queries.

Belongs here: reading and writing `audit_findings` and `audit_progress`. Does not belong here: auditing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from resources.clickhouse import Client, insert_frame, query_frame
from serving.audit.findings import FINDING_SCHEMA

MOST_RECORDED = 10_000
"""Findings that are kept by name at a time: a store that is lost as a whole is said with fewer."""

_OPEN = f"""
SELECT {", ".join(f"{name} AS c{number}" for number, name in enumerate(FINDING_SCHEMA))}
FROM audit_findings FINAL
WHERE open = 1
ORDER BY store, place, log_topic, log_partition, log_offset
LIMIT {MOST_RECORDED}
"""  # noqa: S608 - made of constants
_PROGRESS = """
SELECT toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(round_began_at), round_seconds, positions, covered, findings
FROM audit_progress FINAL
"""


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """The auditor's heartbeat. `round_seconds`: what the last round over all history took; 0 before the first is done.

    `covered` of `positions` log positions are audited in the current round; `findings` are open.
    """

    at: datetime
    round_began_at: datetime
    round_seconds: float
    positions: int
    covered: int
    findings: int


def open_findings(client: Client) -> pl.DataFrame:
    """Findings that were there when last looked at (FINDING_SCHEMA), at most MOST_RECORDED."""
    found = query_frame(client, _OPEN)
    frame = found.select(
        pl.col(f"c{n}").cast(dtype).alias(name) for n, (name, dtype) in enumerate(FINDING_SCHEMA.items())
    )
    return frame.with_columns(
        pl.when(pl.col("log_offset") >= 0).then("log_offset"),
        pl.when(pl.col("log_offset") >= 0).then("log_partition"),
        pl.when(pl.col("bucket").dt.epoch("s") > 0).then("bucket"),
    )


def record(client: Client, findings: pl.DataFrame, *, still_there: bool) -> None:
    """Write down findings (FINDING_SCHEMA) as open, or as gone."""
    rows = findings.head(MOST_RECORDED).with_columns(
        pl.col("log_partition").fill_null(-1),
        pl.col("log_offset").fill_null(-1),
        pl.col("bucket").fill_null(datetime(1970, 1, 1, tzinfo=UTC)),
        pl.lit(int(still_there)).cast(pl.UInt8).alias("open"),
    )
    insert_frame(client, "audit_findings", rows)


def read_progress(client: Client) -> AuditProgress | None:
    """The newest heartbeat; None when no auditor has ever run."""
    rows = client.query(_PROGRESS).result_rows
    if not rows:
        return None
    at, began, *numbers = rows[0]
    return AuditProgress(datetime.fromtimestamp(at / 1000, UTC), datetime.fromtimestamp(began / 1000, UTC), *numbers)


def write_progress(client: Client, progress: AuditProgress) -> None:
    """Write the heartbeat; there is one auditor, and one row."""
    row = {name: [getattr(progress, name)] for name in AuditProgress.__slots__}
    times = [pl.col(name).dt.cast_time_unit("ms") for name in ("at", "round_began_at")]
    insert_frame(client, "audit_progress", pl.DataFrame(row).with_columns(times))
