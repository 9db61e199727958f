"""Replay: write again what a store has lost, from the event log; and build the live tables anew.

Belongs here: repairing stores position by position. Does not belong here: quarantine (`orchestration.quarantine`),
sealing.

Both writers are idempotent by position, so a replay over whole ranges changes only what is missing. Positions are taken
up to what each group has committed: what lies beyond is the workers' business. While the live tables are mended, the
stack's live worker is paused: rollups of an hour are rebuilt from its events, and an insert in between would be lost.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from assets.archive_index import sync
from contracts.event_types import TOPICS
from contracts.trend_boards import MENTION_TYPES
from orchestration.repair.sessions import mend_sessions
from orchestration.settings import Settings
from orchestration.stack.errors import StackError
from orchestration.stack.mending import mending, paused
from orchestration.stack.stores import event_log, raw_store
from resources.archive import open_archive
from resources.clickhouse import Client, open_clickhouse, query_frame
from resources.clickhouse.cluster import changeable
from resources.clickhouse.sql import render
from resources.crashpoints import crashpoint
from resources.event_log.base import EventLog, OffsetRange, TopicPartition
from resources.raw_store.base import PositionRange, VerdictCounts
from streaming.topics import GROUP_LIVE, GROUP_RAW
from streaming.worker.batch import batch_of
from streaming.worker.decode import DecodedBatch, decode_batch
from streaming.worker.live import LiveWriter
from streaming.worker.raw import RawWriter

LIVE_TABLES = (
    "events", "event_positions", "live_rejects", "live_progress", "live_engagement_minute", "live_engagement_hour",
    "live_topic_panes", "live_topic_since", "live_ad_hours", "live_ad_facts", "live_ad_credits",
    "session_events", "live_sessions", "live_sessions_progress",
)  # fmt: skip
ROLLUPS = ("live_engagement_minute", "live_engagement_hour")
CHUNK = 20_000

Progress = Callable[[str], None]


@dataclass(slots=True)
class ReplayReport:
    """`messages` were looked at; `raw` and `live` count the verdicts that were missing and are written anew.

    `reindexed_parts`: archive parts of which ClickHouse's index said something else than their manifests.
    """

    messages: int = 0
    raw: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    rebuilt_hours: int = 0
    reindexed_parts: int = 0


def replay_window(settings: Settings, start: datetime, end: datetime, progress: Progress) -> ReplayReport:
    """Write again what the stores lack of the messages appended in `[start, end)`, UTC; then the archive's index.

    Raises LogUnavailableError, StackError when the live worker cannot be paused or another one mends this home. Repeat
    it after any interruption.
    """
    report = ReplayReport()
    with mending(settings.home, "tally replay"), event_log(settings) as log:
        window = _appended(log, start, end)
        progress("raw store")
        _replay_raw(settings, log, _taken(log, GROUP_RAW, window), report)
        crashpoint("replay.raw_written")
        with paused(settings.home, "worker-live"):
            progress("ClickHouse")
            client = open_clickhouse(settings.clickhouse_url)
            _replay_live(client, settings, log, _taken(log, GROUP_LIVE, window), report)
    progress("index of the archive")
    archive = open_archive(settings.archive_url)
    hours = {part.ingest_hour for part in archive.parts()}
    report.reindexed_parts = sum(sync(client, archive, hour) for hour in sorted(hours))
    return report


def rebuild_live(settings: Settings, progress: Progress) -> ReplayReport:
    """Empty the live tables and fill them again from the log; queries answer from sealed hours meanwhile.

    Raises StackError when the log no longer holds everything the live group has read (retention): then emptying the
    tables would lose rows.
    """
    report = ReplayReport()
    with mending(settings.home, "tally replay --live"), event_log(settings) as log:
        everything = [
            OffsetRange(topic, partition, 0, high)
            for topic in TOPICS
            for partition, (_, high) in log.watermarks(topic).items()
        ]
        gone = [
            f"{place.topic}/{place.partition}"
            for place in everything
            if log.watermarks(place.topic)[place.partition][0] > 0
        ]
        if gone:
            raise StackError(
                f"the log has let go of the first messages of {', '.join(gone)}, so the live tables cannot be built "
                "from it alone; `tally replay --from … --to …` mends what the log still holds"
            )
        with paused(settings.home, "worker-live"):
            client = open_clickhouse(settings.clickhouse_url)
            progress("empty the live tables")
            for table in LIVE_TABLES:
                client.command(f"TRUNCATE TABLE {changeable(table)}")
            crashpoint("rebuild.truncated")
            progress("fill them from the log")
            _replay_live(client, settings, log, _taken(log, GROUP_LIVE, everything), report)
    return report


def _appended(log: EventLog, start: datetime, end: datetime) -> list[OffsetRange]:
    ranges = []
    for topic in TOPICS:
        first, last = (log.offsets_at(topic, int(moment.timestamp() * 1000)) for moment in (start, end))
        ranges += [OffsetRange(topic, partition, first[partition], last[partition]) for partition in first]
    return ranges


def _taken(log: EventLog, group: str, ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """The part of the ranges that the group has committed."""
    commits = log.group_commits(group)
    cut = []
    for place in ranges:
        commit = commits.get(TopicPartition(place.topic, place.partition))
        end = min(place.end, commit.offset if commit else 0)
        if place.start < end:
            cut.append(place._replace(end=end))
    return cut


def _batches(log: EventLog, ranges: Sequence[OffsetRange]) -> Iterator[DecodedBatch]:
    for messages in log.read(ranges, CHUNK):
        place = OffsetRange(messages.topic, messages.partition, messages.offsets[0], messages.offsets[-1] + 1)
        yield decode_batch(batch_of([messages], [place]))


def _replay_raw(settings: Settings, log: EventLog, ranges: Sequence[OffsetRange], report: ReplayReport) -> None:
    with raw_store(settings) as store:
        writer = RawWriter(store, threading.Event())
        positions = {place: PositionRange(*place) for place in ranges}
        found = store.verdicts(list(positions.values()))
        lacking = [place for place, where in positions.items() if found[where].total < place.end - place.start]
        for batch in _batches(log, lacking):
            writer.write(batch, f"replay/{uuid.uuid4()}", recovering=False)
        report.messages = sum(place.end - place.start for place in ranges)
        before, after = _verdicts(found.values()), _verdicts(store.verdicts(list(positions.values())).values())
    report.raw = {name: after[name] - before[name] for name in after}


def _verdicts(counts: Iterable[VerdictCounts]) -> dict[str, int]:
    names = ("stored", "duplicate", "quarantined")
    listed = list(counts)
    return {name: sum(getattr(count, name) for count in listed) for name in names}


def _replay_live(
    client: Client, settings: Settings, log: EventLog, ranges: Sequence[OffsetRange], report: ReplayReport
) -> None:
    writer = LiveWriter(settings.clickhouse_url, threading.Event())
    counts = {"stored": 0, "duplicate": 0, "quarantined": 0}
    try:
        for place in ranges:
            present = _present(client, place)
            if present.len() == place.end - place.start:
                continue
            _forget_phantoms(client, place)
            for batch in _batches(log, [place]):
                lacking = _without(batch, present)
                if lacking.rows:
                    written = writer.write(lacking, f"replay/{uuid.uuid4()}", recovering=False)
                    for name in counts:
                        counts[name] += getattr(written, name)
    finally:
        writer.close()
    report.live = counts
    crashpoint("replay.live_written")
    hours = _wrong_hours(client)
    if hours:
        rebuild_rollups(client, hours)
    report.rebuilt_hours = len(hours)
    if client.query(_WRONG_PROGRESS).result_rows:
        rebuild_progress(client)
    mend_sessions(client)


_HERE = (
    "log_topic = {topic:String} AND log_partition = {partition:Int32}"
    " AND log_offset >= {start:Int64} AND log_offset < {end:Int64}"
)
_PRESENT = f"""
SELECT log_offset FROM events WHERE {_HERE}
UNION ALL
SELECT log_offset FROM live_rejects WHERE {_HERE}
"""  # noqa: S608 - made of constants
_PHANTOMS = f"""
ALTER TABLE @positions DELETE WHERE {_HERE} AND log_offset NOT IN (SELECT log_offset FROM events WHERE {_HERE})
SETTINGS mutations_sync = 1
"""  # noqa: S608 - made of constants


def _present(client: Client, place: OffsetRange) -> pl.Series:
    """Offsets of the range that ClickHouse has a verdict for."""
    return query_frame(client, _PRESENT, place._asdict())["log_offset"].unique()


def _forget_phantoms(client: Client, place: OffsetRange) -> None:
    """Drop index entries of rows that `events` no longer has: by them a lost row would pass for a stored one."""
    client.command(_PHANTOMS.replace("@positions", changeable("event_positions")), parameters=place._asdict())


def _without(batch: DecodedBatch, present: pl.Series) -> DecodedBatch:
    events = batch.events.filter(~pl.col("log_offset").is_in(present.implode()))
    rejects = batch.rejects.filter(~pl.col("log_offset").is_in(present.implode()))
    return DecodedBatch(events, rejects, events.height + rejects.height)


_HOUR_COUNTS = """
SELECT hour, name, sum(n) AS n
FROM
(
    SELECT toUnixTimestamp(toStartOfHour(event_time)) AS hour, 'events' AS name, count() AS n FROM events GROUP BY hour
    UNION ALL
    SELECT toUnixTimestamp(toStartOfHour(bucket)), 'minute', sum(events) FROM live_engagement_minute
    WHERE dimension = 'all' GROUP BY 1
    UNION ALL
    SELECT toUnixTimestamp(bucket), 'hours', sum(events) FROM live_engagement_hour WHERE dimension = 'all' GROUP BY 1
)
GROUP BY hour, name
"""


def _wrong_hours(client: Client) -> list[int]:
    """Hours (s since 1970) whose live rollups do not add up to their events.

    Asked of the tables and not remembered from the writing: a replay that was killed before it rebuilt them shows here.
    """
    counts = query_frame(client, _HOUR_COUNTS)
    by_name = [pl.col("n").filter(pl.col("name") == name).sum() for name in ("events", "minute", "hours")]
    wrong = counts.group_by("hour").agg(agree=pl.concat_list(by_name).list.n_unique() == 1).filter(~pl.col("agree"))
    return sorted(wrong["hour"])


def rebuild_rollups(client: Client, hours: Sequence[int]) -> None:
    """Compute live rollups and panes of these hours from `events` again; the hour's follows the minute's by its view.

    The minutes come last: an hour whose minutes do not add up is found and done again after a kill.
    """
    parameters = {"hours": list(hours)}
    chosen = "toUnixTimestamp(toStartOfHour({})) IN {{hours:Array(Int64)}}"
    for table in ROLLUPS:
        client.command(
            f"ALTER TABLE {changeable(table)} DELETE WHERE {chosen.format('bucket')} SETTINGS mutations_sync = 1",
            parameters=parameters,
        )
    client.command(
        f"ALTER TABLE live_topic_panes DELETE WHERE {chosen.format('pane')} SETTINGS mutations_sync = 1",
        parameters=parameters,
    )
    crashpoint("replay.rollups_deleted")
    source = f"(SELECT * FROM events WHERE {chosen.format('event_time')})"  # noqa: S608 - made of constants
    rollup = render("engagement_rollup", source=source, bucket="toStartOfMinute(event_time)")
    # A block like one that was inserted before must not be taken for its repetition.
    for table, select in (
        ("live_topic_panes", render("topic_panes", source=source, types=MENTION_TYPES)),
        ("live_engagement_minute", rollup),
    ):
        client.command(f"INSERT INTO {table} {select}", parameters=parameters, settings={"insert_deduplicate": 0})


_WRONG_PROGRESS = """
SELECT log_topic, log_partition
FROM
(
    SELECT log_topic, log_partition, count() AS here, 0 AS there FROM events GROUP BY log_topic, log_partition
    UNION ALL
    SELECT log_topic, log_partition, 0, sum(events) FROM live_progress GROUP BY log_topic, log_partition
)
GROUP BY log_topic, log_partition
HAVING sum(here) != sum(there)
"""


def rebuild_progress(client: Client) -> None:
    """Compute `live_progress` from `events` again: a row that was lost and written anew has counted twice there.

    Readers take the watermark from it, so the new rows replace the old ones in one step.
    """
    client.command("DROP TABLE IF EXISTS live_progress_mended")
    client.command("CREATE TABLE live_progress_mended AS live_progress")
    client.command(
        "INSERT INTO live_progress_mended SELECT log_topic, log_partition, count(), min(event_time), max(event_time),"
        " max(received_at) FROM events GROUP BY log_topic, log_partition"
    )
    client.command("ALTER TABLE live_progress REPLACE PARTITION ID 'all' FROM live_progress_mended")
    client.command("DROP TABLE live_progress_mended")
