"""What is not there yet, or not any more, each with the command that fills it.

Belongs here: holes in the account, log ranges the archive lacks, complete hours without a seal or with an outdated one.
Does not belong here: filling them (`tally seal`, `tally repair`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from contracts.event_types import TOPICS
from resources.archive.base import Archive
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render
from resources.event_log.base import EventLog, OffsetRange, TopicPartition
from resources.raw_store.base import PositionRange, RawStore
from serving.ledger import RAW_GROUP, ledger
from serving.progress import ALLOWED_LATENESS, read_progress

GAP_SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(),  # hole | not_archived | unsealed | outdated | on_its_way
    "place": pl.String(),
    "rows": pl.Int64(),  # offsets or events concerned
    "detail": pl.String(),
    "command": pl.String(),  # '' for what is on its way
}

ON_ITS_WAY = "on_its_way"
GRACE = timedelta(minutes=3)
"""What was archived since then is no gap yet: late events are sealed by themselves within two minutes."""

_ARCHIVED_HOURS = """
SELECT
    toUnixTimestamp(archived.event_hour) AS hour_s,
    archived.network AS network,
    archived.n AS archived_rows,
    slices.events AS considered,
    slices.published_at > toDateTime64(0, 6) AS has_slice,
    hours.published_at > toDateTime64(0, 6) AS has_hour,
    toUnixTimestamp64Milli(arrayMin(arrayFilter(t -> t > slices.published_at, archived.times))) AS waiting_since_ms
FROM
(
    SELECT event_hour, network, sum(rows) AS n, groupArray(written_at) AS times
    FROM archive_contents FINAL
    WHERE retired = 0
    GROUP BY event_hour, network
) AS archived
LEFT JOIN ({slices}) AS slices ON slices.bucket = archived.event_hour AND slices.network = archived.network
LEFT JOIN ({hours}) AS hours ON hours.bucket = archived.event_hour AND hours.network = archived.network
WHERE NOT (has_slice AND has_hour AND archived_rows <= considered)
ORDER BY network, hour_s
"""


def gaps(
    event_log: EventLog,
    raw_store: RawStore,
    clickhouse: Client,
    archive: Archive,
    *,
    now: datetime | None = None,
    topics: Sequence[str] = TOPICS,
) -> pl.DataFrame:
    """Return everything that is missing (GAP_SCHEMA), holes first; no row means nothing is.

    hole: an offset without a verdict, or with two. not_archived: offsets of past ingest hours that no archive part
    accounts for. unsealed: an hour behind the watermark with archived events and no seal. outdated: a sealed hour for
    which the archive holds more events than its slice was made from. on_its_way: either of these, but archived less
    than GRACE ago: no gap yet.
    """
    clock = now or datetime.now(UTC)
    rows = [
        *_holes(event_log, ledger(event_log, raw_store, clickhouse, topics)),
        *_not_archived(event_log, archive, clock, topics),
        *_hours(clickhouse, clock),
    ]
    return pl.DataFrame(rows, schema=GAP_SCHEMA, orient="row")


def _holes(event_log: EventLog, account: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    for row in account.filter(~pl.col("balanced")).iter_rows(named=True):
        holes = row["holes"]
        first, last = (holes[0], holes[-1]) if holes else (0, row["end"] - 1)
        window = PositionRange(row["topic"], row["partition"], first, last + 1)
        listed = ", ".join(map(str, holes[:10])) + (", …" if row["missing"] > 10 else "")
        yield (
            "hole",
            f"{row['group']}: {row['topic']}/{row['partition']}",
            row["missing"] + row["doubled"],
            f"{row['missing']} offsets without a verdict ({listed or 'none'}), {row['doubled']} verdicts too many",
            f"tally repair {_appended(event_log, window)}",
        )


def _not_archived(
    event_log: EventLog, archive: Archive, clock: datetime, topics: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Only past ingest hours: the current one is archived bit by bit, and what is on its way is no gap."""
    archived: dict[TopicPartition, list[tuple[int, int]]] = {}
    for part in archive.parts():
        for where in part.ranges:
            place = TopicPartition(where.log_topic, where.log_partition)
            archived.setdefault(place, []).append((where.start, where.end))
    hour = clock.replace(minute=0, second=0, microsecond=0)
    commits = event_log.group_commits(RAW_GROUP)
    for topic in topics:
        low = event_log.watermarks(topic)
        for partition, closed in event_log.offsets_at(topic, int(hour.timestamp() * 1000)).items():
            place = TopicPartition(topic, partition)
            taken = min(closed, commits[place].offset if place in commits else 0)
            for start, end in _uncovered(archived.get(place, []), 0, taken):
                window = PositionRange(topic, partition, max(start, low[partition][0]), end)
                yield (
                    "not_archived",
                    f"{topic}/{partition}",
                    end - start,
                    f"offsets {start} to {end - 1} are in no archive part",
                    f"tally seal {_appended(event_log, window)}",
                )


def _uncovered(spans: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of `[start, end)` that no span covers."""
    at = start
    for low, high in sorted(spans):
        if low > at:
            yield at, min(low, end)
        at = max(at, high)
        if at >= end:
            return
    if at < end:
        yield at, end


def _appended(event_log: EventLog, where: PositionRange) -> str:
    """Return `--from … --to …`: the hours in which the log appended the range, as far as it still has it."""
    times: list[int] = []
    for offset in {where.start, where.end - 1}:
        for messages in event_log.read([OffsetRange(where.log_topic, where.log_partition, offset, offset + 1)]):
            times += messages.timestamps
    if not times:
        return "--from … --to …  (the log no longer has these offsets)"
    hours = [datetime.fromtimestamp(ms / 1000, UTC).replace(minute=0, second=0, microsecond=0) for ms in times]
    return f"--from {_iso(min(hours))} --to {_iso(max(hours) + timedelta(hours=1))}"


def _hours(clickhouse: Client, clock: datetime) -> Iterator[tuple[object, ...]]:
    watermark = read_progress(clickhouse, clock, None).watermark
    if watermark is None:
        return
    complete = watermark - ALLOWED_LATENESS
    sql = _ARCHIVED_HOURS.format(
        slices=render("published_builds", dataset="connector_slices"),
        hours=render("published_builds", dataset="engagement_hourly"),
    )
    for row in query_frame(clickhouse, sql).iter_rows(named=True):
        start = datetime.fromtimestamp(row["hour_s"], UTC)
        end = start + timedelta(hours=1)
        sealed = row["has_slice"] and row["has_hour"]
        if not sealed and end > complete:
            continue
        more = row["archived_rows"] - row["considered"] if sealed else row["archived_rows"]
        place = f"{row['network']} {_iso(start)}"
        said = (
            f"{more} archived events came after the hour was sealed" if sealed else f"{more} archived events, no seal"
        )
        if datetime.fromtimestamp(row["waiting_since_ms"] / 1000, UTC) > clock - GRACE:
            yield (ON_ITS_WAY, place, more, f"{said} yet: on its way, sealed by itself within minutes", "")
            continue
        command = f"tally seal --from {_iso(start)} --to {_iso(end)}"
        yield ("outdated" if sealed else "unsealed", place, more, said, command)


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
