"""A part's manifest: its place, its JSON text, and reading it back.

Belongs here: names and the format. Does not belong here: fetching or writing objects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson
import polars as pl

from contracts.envelope import SCHEMA_VERSION, STORED_SCHEMA
from resources.archive.base import ArchiveCorruptError, ArchiveError, ArchivePart
from resources.archive.ranges import name
from resources.raw_store.base import PositionRange

ROOT = "raw"
FORMAT = "tally-archive-part/1"
_DIGEST_DIGITS = 16


def folder(ingest_hour: datetime) -> str:
    """`raw/ingest_date=2024-05-01/ingest_hour=12`. Raises ArchiveError unless it is the zoned start of an hour."""
    if ingest_hour.utcoffset() is None:
        raise ArchiveError(f"ingest hour {ingest_hour.isoformat()} has no time zone")
    hour = ingest_hour.astimezone(UTC)
    if hour.replace(minute=0, second=0, microsecond=0) != hour:
        raise ArchiveError(f"{hour.isoformat()} is not the start of an ingest hour")
    return f"{ROOT}/ingest_date={hour:%Y-%m-%d}/ingest_hour={hour:%H}"


def object_path(ingest_hour: datetime, ranges: tuple[PositionRange, ...], sha256: str) -> str:
    return f"{folder(ingest_hour)}/{name(ranges)}.{sha256[:_DIGEST_DIGITS]}.parquet"


def manifest_path(part: ArchivePart) -> str:
    """Every version of a part has the same manifest path: it is the part's identity."""
    return f"{part.path[: -len('.parquet') - 1 - _DIGEST_DIGITS]}.json"


def contents(events: pl.LazyFrame) -> dict[tuple[datetime, str], int]:
    """Rows per event hour (UTC) and network."""
    counted = (
        events.group_by(pl.col("event_time").dt.truncate("1h").alias("event_hour"), "network")
        .len("rows")
        .sort("event_hour", "network")
        .collect()
    )
    return {(hour, network): rows for hour, network, rows in counted.iter_rows()}


def may_hold(part: ArchivePart, event_hours: tuple[datetime, datetime] | None, network: str | None) -> bool:
    """Whether the part has rows of `[start, end)` by event time and of the network, as far as whole hours can tell."""
    return any(
        (network is None or network == of)
        and (event_hours is None or (hour < event_hours[1] and hour + timedelta(hours=1) > event_hours[0]))
        for hour, of in part.contents
    )


def to_json(part: ArchivePart) -> bytes:
    """For people and other tools too; the same part gives the same bytes."""
    return orjson.dumps(
        {
            "format": FORMAT,
            "object": part.path,
            "ingest_hour": _hour_text(part.ingest_hour),
            "ranges": [r._asdict() for r in part.ranges],
            "rows": part.rows,
            "bytes": part.bytes,
            "sha256": part.sha256,
            "contents": [
                {"event_hour": _hour_text(hour), "network": network, "rows": rows}
                for (hour, network), rows in part.contents.items()
            ],
            "schema_version": SCHEMA_VERSION,
            "schema": {column: str(dtype) for column, dtype in STORED_SCHEMA.items()},
            "replaces": list(part.replaces),
            "written_by": _writer(),
        },
        option=orjson.OPT_INDENT_2,
    )


def from_json(text: bytes, path: str) -> ArchivePart:
    """Raises ArchiveCorruptError naming `path` when this is not a whole manifest."""
    try:
        found: dict[str, Any] = orjson.loads(text)
        if found["format"] != FORMAT:
            raise ArchiveCorruptError(f"{path}: format {found['format']!r} is not {FORMAT!r}")
        part = ArchivePart(
            path=found["object"],
            ingest_hour=datetime.fromisoformat(found["ingest_hour"]),
            ranges=tuple(PositionRange(**r) for r in found["ranges"]),
            rows=found["rows"],
            bytes=found["bytes"],
            sha256=found["sha256"],
            contents={(datetime.fromisoformat(c["event_hour"]), c["network"]): c["rows"] for c in found["contents"]},
            replaces=tuple(found["replaces"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveCorruptError(f"{path}: not a whole manifest: {error!r}") from error
    if sum(part.contents.values()) != part.rows:
        raise ArchiveCorruptError(f"{path}: contents sum to {sum(part.contents.values())} rows, not {part.rows}")
    return part


def _hour_text(hour: datetime) -> str:
    return hour.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def _writer() -> str:
    try:
        return f"tally {version('tally')} (polars {pl.__version__})"
    except PackageNotFoundError:  # run from a checkout that was never installed
        return f"tally (polars {pl.__version__})"
