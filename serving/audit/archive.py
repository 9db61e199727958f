"""The archive against its manifests, its index, and the rows it should hold.

Belongs here: this comparison. Does not belong here: rewriting parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from contracts.envelope import STORED_SCHEMA
from resources.archive.base import Archive, ArchiveCorruptError, ArchivePart
from resources.archive.ranges import common, joined, within, without
from resources.clickhouse import Client, query_frame
from resources.raw_store.base import PositionRange
from serving.audit.findings import build, finding, join_all
from serving.audit.rows import compare_rows

_INDEX = """
SELECT path, toUnixTimestamp(any(ingest_hour)) AS hour_s,
    groupArray((toString(log_topic), log_partition, range_start, range_end)) AS ranges
FROM archive_ranges FINAL
WHERE retired = 0
GROUP BY path
"""
_CONTENTS = """
SELECT path, toUnixTimestamp(event_hour) AS event_hour, toString(network) AS network, rows, sha256
FROM archive_contents FINAL
WHERE retired = 0
"""
_CONTENTS_SCHEMA = {
    "path": pl.String(),
    "event_hour": pl.Int64(),
    "network": pl.String(),
    "rows": pl.Int64(),
    "sha256": pl.String(),
}


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """Live parts with readable manifests; `broken`: what is wrong, by path, with parts whose bytes prove nothing."""

    parts: tuple[ArchivePart, ...]
    broken: dict[str, str]
    findings: pl.DataFrame

    @property
    def covered(self) -> tuple[PositionRange, ...]:
        return joined(where for part in self.parts for where in part.ranges)


def inspect_archive(
    archive: Archive, clickhouse: Client, ranges: Sequence[PositionRange] | None = None
) -> ArchiveState:
    """Read every manifest, every byte of the parts (those that hold some of `ranges`), and the index."""
    everything, unreadable = archive.inspect()
    mine = [part for part in everything if ranges is None or common(part.ranges, ranges)]
    broken = {}
    for part in mine:
        try:
            archive.verify(part)
        except ArchiveCorruptError as error:
            broken[part.path] = str(error)
    hours = {part.path: part.ingest_hour for part in mine}
    findings = [
        *(finding("archive", "damaged", path, found=text) for path, text in unreadable.items()),
        *(finding("archive", "damaged", path, bucket=hours[path], found=text) for path, text in broken.items()),
        *_lost_manifests(clickhouse, everything, ranges),
        _index(clickhouse, mine),
    ]
    return ArchiveState(tuple(mine), broken, join_all(findings))


def compare_archive(
    archive: Archive, state: ArchiveState, expected: pl.DataFrame, ranges: Sequence[PositionRange]
) -> tuple[pl.DataFrame, int]:
    """Findings about the rows of the parts in these ranges, and rows read.

    `expected` (STORED_SCHEMA): the events that the raw store should hold there. Where a part is damaged, what can still
    be read of it is compared; what cannot is missing.
    """
    findings, rows = [], 0
    for part in state.parts:
        here = common(part.ranges, ranges)
        if not here:
            continue
        try:
            held = archive.salvage(part).filter(within(here)).select(list(STORED_SCHEMA)).collect()
        except (OSError, pl.exceptions.PolarsError):
            held = pl.DataFrame(schema=STORED_SCHEMA)
        rows += held.height
        found = compare_rows("archive", part.path, expected.filter(within(here)), held, list(STORED_SCHEMA))
        findings.append(found.with_columns(pl.lit(part.ingest_hour).cast(found.schema["bucket"]).alias("bucket")))
    return join_all(findings), rows


def _lost_manifests(
    clickhouse: Client, parts: Sequence[ArchivePart], ranges: Sequence[PositionRange] | None
) -> list[pl.DataFrame]:
    """Parts that the index knows, and whose ranges no live part covers: their manifests are gone."""
    covered = joined(where for part in parts for where in part.ranges)
    live = {part.path for part in parts}
    found = []
    for row in _indexed(clickhouse):
        spans = [PositionRange(*_values(span)) for span in row["ranges"]]
        lost = without(joined(spans), covered)
        if row["path"] in live or not lost or (ranges is not None and not common(lost, ranges)):
            continue
        hour = datetime.fromtimestamp(row["hour_s"], UTC)
        positions = pl.DataFrame(
            [(*where[:3], hour, f"its manifest is gone; offsets {where.start} to {where.end - 1}") for where in lost],
            schema={
                "log_topic": pl.String,
                "log_partition": pl.Int32,
                "log_offset": pl.Int64,
                "bucket": pl.Datetime("ms", "UTC"),
                "found": pl.String,
            },
            orient="row",
        )
        found.append(build("archive", "missing", row["path"], positions))
    return found


def _values(span: object) -> tuple[str, int, int, int]:
    """A tuple of ClickHouse arrives as a record."""
    values = list(span.values()) if isinstance(span, dict) else list(span)  # type: ignore[call-overload]  # a sequence
    return str(values[0]), int(values[1]), int(values[2]), int(values[3])


def _index(clickhouse: Client, parts: Sequence[ArchivePart]) -> pl.DataFrame:
    """The index in ClickHouse says of each part what its manifest says."""
    expected = pl.DataFrame(
        [
            (part.path, int(hour.timestamp()), network, count, part.sha256)
            for part in parts
            for (hour, network), count in part.contents.items()
        ],
        schema=_CONTENTS_SCHEMA,
        orient="row",
    )
    hours = {part.path: part.ingest_hour for part in parts}
    held = query_frame(clickhouse, _CONTENTS).select(pl.col(n).cast(t) for n, t in _CONTENTS_SCHEMA.items())
    held = held.filter(pl.col("path").is_in(list(hours)))
    names = list(_CONTENTS_SCHEMA)
    wrong = {*expected.join(held, on=names, how="anti")["path"], *held.join(expected, on=names, how="anti")["path"]}
    spans = {
        row["path"]: joined(PositionRange(*_values(span)) for span in row["ranges"]) for row in _indexed(clickhouse)
    }
    wrong |= {part.path for part in parts if spans.get(part.path) != joined(part.ranges)}
    return join_all(
        finding("archive", "changed", "archive_contents", bucket=hours[path], found=f"not as the manifest of {path}")
        for path in sorted(wrong)
    )


def _indexed(clickhouse: Client) -> list[dict[str, Any]]:
    return query_frame(clickhouse, _INDEX).to_dicts()
