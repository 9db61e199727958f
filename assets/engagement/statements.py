"""The two statements that fill builds of hours and days, and the checksum that says of a seal what went into it.

Belongs here: SQL text and its hash; no Dagster: the auditor process asks for checksums. Does not belong here: running
them (`build`, `rollup`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache

from resources.clickhouse.sql import render

_COLUMNS = "build_id, bucket, workspace, network, type, dimension, member, events, actors"

_SCOPE = "SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String})"

_SLICES = """
(
    SELECT * FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64} + 3600, 'UTC')
        AND (network, toStartOfHour(event_time), build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)
_HOURS = """
(
    SELECT * FROM engagement_hourly_builds
    WHERE bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')
        AND (network, bucket, build_id) IN (@scope)
)
""".replace("@scope", _SCOPE)


@cache
def insert_statement(dataset: str) -> str:
    """Fill `<dataset>_builds` for `{build_id:String}` from what its scope names.

    `from_s` and `to_s` are the first and last hour of the sources. Raises KeyError for a dataset that is no rollup.
    """
    macro, source, bucket = {
        "engagement_hourly": ("engagement_rollup", _SLICES, "toStartOfHour(event_time)"),
        "engagement_daily": ("engagement_merge", _HOURS, "toStartOfDay(bucket, 'UTC')"),
    }[dataset]
    select = render(macro, source=source, bucket=bucket)
    head = f"INSERT INTO {dataset}_builds ({_COLUMNS})"
    return f"{head}\nSELECT toUUID({{build_id:String}}), * FROM ({select})"  # our own texts, no values


def seal_checksum(dataset: str, sources: Sequence[tuple[datetime, int]]) -> int:
    """The checksum of a rollup's seal: of its SQL and of its sources' buckets and checksums, in order of time.

    A bucket without sources has 0.
    """
    inputs = [f"{at:%Y-%m-%d %H} {checksum}" for at, checksum in sources]
    return _digest([insert_statement(dataset), *inputs]) if inputs else 0


def _digest(parts: Iterable[object]) -> int:
    """A 63-bit hash of the texts of the parts, the same on every machine."""
    text = "\n".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
