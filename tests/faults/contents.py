"""Everything the stores hold and answer, as frames that two runs can be compared by.

Belongs here: which tables, and what of them may differ. Does not belong here: runs.

Left out, because no two runs agree on it: ids of builds and runs, names of archive parts (they hold a hash of the
file), and when something was written (`sealed_at`, `restated_at`, `staged_at`, `written_at`, `applied_at`,
`first_seen`, `last_seen`, `as_of`). Builds that no seal names are left out too: no reader sees them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from assets.raw_events.archiving import covered
from contracts.event_types import TOPICS
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, raw_store
from resources.archive import open_archive
from resources.clickhouse import open_clickhouse, query_frame
from resources.raw_store.base import PositionRange, QuarantineFilter
from serving.ledger import ledger
from serving.query import MetricQuery, answer

Contents = dict[str, pl.DataFrame]

_ROLLUP = (
    "SELECT toUnixTimestamp(bucket) AS at, toString(workspace) AS workspace, toString(network) AS network,"
    " toString(type) AS type, toString(dimension) AS dimension, member, sum(events) AS events,"
    " uniqExactMerge(actors) AS actors FROM {} GROUP BY ALL"
)
_PLACE = "toString(log_topic) AS log_topic, log_partition, log_offset"
_TABLES = {
    "events": "SELECT * REPLACE (toString(event_id) AS event_id) FROM events",
    "event_positions": f"SELECT toString(workspace) AS workspace, hex(event_key) AS event_key, {_PLACE}"
    " FROM event_positions",
    "live_rejects": f"SELECT toString(verdict) AS verdict, reason, workspace, network, event_id, receipt_id, {_PLACE}"
    " FROM live_rejects FINAL",
    "live_progress": "SELECT toString(log_topic) AS log_topic, log_partition, sum(events) AS events,"
    " min(oldest_event_time) AS oldest, max(newest_event_time) AS newest FROM live_progress GROUP BY ALL",
    "live_engagement_minute": _ROLLUP.format("live_engagement_minute"),
    "live_engagement_hour": _ROLLUP.format("live_engagement_hour"),
    "connector_slices": f"SELECT toString(workspace) AS workspace, toString(event_id) AS event_id, actor, object,"
    f" event_time, properties, {_PLACE} FROM connector_slices",
    "engagement_hourly": _ROLLUP.format("engagement_hourly"),
    "engagement_daily": _ROLLUP.format("engagement_daily"),
    "live_sessions": "SELECT toString(session_id) AS session_id, actor, started_at, ended_at, events, path"
    " FROM live_sessions FINAL WHERE gone = 0",
    "sessions": "SELECT toString(session_id) AS session_id, actor, started_at, ended_at, events, path FROM sessions",
    "live_ads": "SELECT toUnixTimestamp(bucket) AS at, dataset, dimension, member, measure, value"
    " FROM live_ad_facts FINAL WHERE (source_hour, generation) IN"
    " (SELECT source_hour, max(generation) FROM live_ad_hours GROUP BY source_hour)"
    # of sealed days nobody reads them
    " AND (toStartOfDay(bucket, 'UTC'), network) NOT IN (SELECT bucket, network FROM seals WHERE dataset = 'ads')",
    "facts": "SELECT toUnixTimestamp(bucket) AS at, dataset, network, dimension, member, measure, value FROM facts",
    "ad_credits": "SELECT conversion_id, touch_id, kind, credit_linear, revenue_linear FROM ad_credits",
    "seals": "SELECT toString(dataset) AS dataset, toUnixTimestamp(bucket) AS at, toString(network) AS network, rows,"
    " events, checksum, cause FROM seals ORDER BY dataset, at, network, sealed_at",
    "restatements": "SELECT dataset, metric, toUnixTimestamp(bucket) AS at, workspace, network, type, dimension,"
    " member, old_value, new_value, cause FROM restatements FINAL WHERE build_id IN (SELECT build_id FROM seals)",
    "archive_contents": "SELECT toUnixTimestamp(event_hour) AS at, toString(network) AS network, sum(rows) AS rows"
    " FROM archive_contents FINAL WHERE retired = 0 GROUP BY ALL",
}
_QUESTIONS = (
    MetricQuery("events", grain="hour"),
    MetricQuery("events", by=("type", "network"), grain="day"),
    MetricQuery("active_actors", by=("object",), grain="hour"),
    MetricQuery("active_actors", grain="day", tz="Asia/Kolkata"),
)
_POSITION = ("log_topic", "log_partition", "log_offset")


def read_contents(settings: Settings) -> Contents:
    """Read all of it. The stores must be at rest."""
    found: Contents = {}
    archive = open_archive(settings.archive_url)
    with (
        open_clickhouse(settings.clickhouse_url) as client,
        event_log(settings) as log,
        raw_store(settings) as store,
    ):
        for name, sql in _TABLES.items():
            frame = query_frame(client, sql)
            found[name] = frame if "ORDER BY" in sql else frame.sort(frame.columns)
        ranges = [PositionRange(t, p, low, high) for t in TOPICS for p, (low, high) in log.watermarks(t).items()]
        found["raw events"] = pl.concat([*store.read_events(ranges), found["events"].clear()], how="diagonal_relaxed")
        verdicts = [(*where, *counts) for where, counts in store.verdicts(ranges).items()]
        found["raw verdicts"] = pl.DataFrame(verdicts, orient="row")
        quarantine = store.quarantine(QuarantineFilter(status=None)).drop("first_seen", "last_seen")
        found["raw quarantine"] = quarantine.sort(_POSITION)
        parts = archive.parts()
        found["archive"] = archive.read(parts).collect().sort(_POSITION)
        found["archive ranges"] = pl.DataFrame(sorted(covered(parts)), orient="row")
        found["ledger"] = ledger(log, store, client)
        now = datetime.now(UTC)
        found |= {f"answer to {q.metric} by {q.by} {q.grain}": answer(client, q, now).frame for q in _QUESTIONS}
    return found


def without_positions(contents: Contents) -> Contents:
    """What must be equal even when a client sent rows again that were there already: all but places and repeats.

    A refused row has no identity; the same one sent twice is refused twice. The ledger must still balance.
    """
    kept = {}
    for name, frame in contents.items():
        if name in {"live_rejects", "raw verdicts", "archive ranges"}:
            continue
        if name == "ledger":
            kept[name] = frame.select(pl.col("missing", "doubled").sum(), pl.col("balanced").all())
            continue
        rows = frame.drop("id", *_POSITION, strict=False)
        kept[name] = rows if name == "seals" or rows.is_empty() else rows.unique(maintain_order=True)
        if name != "seals" and not name.startswith("answer"):
            kept[name] = kept[name].sort(kept[name].columns)
    return kept


def differences(found: Contents, expected: Contents) -> list[str]:
    """Name what differs, with the first row on either side."""
    told = [f"{name}: only one of both has it" for name in found.keys() ^ expected.keys()]
    for name in found.keys() & expected.keys():
        ours, theirs = found[name], expected[name]
        if ours.equals(theirs):
            continue
        rows = zip(ours.rows(), theirs.rows(), strict=False)
        first = next(((a, b) for a, b in rows if a != b), "(one is the beginning of the other)")
        told.append(f"{name}: {ours.height} rows, expected {theirs.height}; the first that differ: {first}")
    return sorted(told)
