"""What became of one event, store by store.

Belongs here: finding one identity in raw store, log, ClickHouse, archive and sealed builds. Does not belong here:
judging whether they agree (`serving.audit`), or printing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from resources.clickhouse import Client, query_frame
from resources.event_log.base import EventLog, OffsetRange
from resources.raw_store.base import RawStore, position_id

_LIVE = """
SELECT
    type, network, actor, event_time, received_at, receipt_id, log_topic, log_partition, log_offset
FROM events
WHERE workspace = {workspace:String} AND event_id = toUUID({event_id:String})
ORDER BY log_topic, log_partition, log_offset
"""
_VERDICTS = """
SELECT toString(verdict) AS verdict, reason, receipt_id, received_at, log_topic, log_partition, log_offset
FROM live_rejects FINAL
WHERE workspace = {workspace:String} AND event_id = {event_id:String}
ORDER BY log_topic, log_partition, log_offset
"""
_PARTS = """
SELECT DISTINCT path
FROM archive_ranges FINAL
WHERE retired = 0 AND log_topic = {topic:String} AND log_partition = {partition:Int32}
    AND range_start <= {offset:Int64} AND range_end > {offset:Int64}
ORDER BY path
"""
_BUILDS = """
SELECT toString(seals.build_id) AS build, seals.sealed_at AS published_at, seals.cause AS published_for
FROM seals
WHERE dataset = 'connector_slices' AND network = {network:String}
    AND bucket = toDateTime({hour_s:Int64}, 'UTC')
    AND build_id IN
    (
        SELECT build_id
        FROM connector_slices_builds
        WHERE network = {network:String} AND toStartOfHour(event_time) = toDateTime({hour_s:Int64}, 'UTC')
            AND workspace = {workspace:String} AND event_id = toUUID({event_id:String})
    )
ORDER BY published_at
"""


@dataclass(slots=True)
class EventTrace:
    """What each store holds of an event; None or empty where it holds nothing. Times are UTC.

    `raw`: the raw store's row. `live`: ClickHouse's rows, one unless something is wrong. `verdicts`: what ClickHouse
    noted of further deliveries, duplicates by position. `position` is where the log has it and `appended_at` when it
    was appended (None when the log no longer keeps it). `archive_parts` cover the position. `builds`: published slices
    of its hour that hold it, oldest first; the last is what readers see, unless a later one lacks it.
    """

    workspace: str
    event_id: str
    position: str = ""
    receipt_id: str = ""
    appended_at: datetime | None = None
    raw: dict[str, object] | None = None
    live: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    archive_parts: list[str] = field(default_factory=list)
    builds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        return bool(self.raw or self.live or self.verdicts)


def trace(log: EventLog, store: RawStore, clickhouse: Client, workspace: str, event_id: str) -> EventTrace:
    """Ask every store for one event. `event_id` is a canonical UUID (lower case, with hyphens)."""
    identity = {"workspace": workspace, "event_id": event_id}
    found = EventTrace(workspace, event_id, raw=store.get_event(workspace, event_id))
    found.live = _placed(query_frame(clickhouse, _LIVE, identity).to_dicts())
    found.verdicts = _placed(query_frame(clickhouse, _VERDICTS, identity).to_dicts())
    row = found.raw or (found.live[0] if found.live else None)
    if row is None:
        return found
    topic, partition, offset = str(row["log_topic"]), int(str(row["log_partition"])), int(str(row["log_offset"]))
    found.position, found.receipt_id = position_id(topic, partition, offset), str(row["receipt_id"])
    low, high = log.watermarks(topic).get(partition, (0, 0))
    if low <= offset < high:
        for messages in log.read([OffsetRange(topic, partition, offset, offset + 1)]):
            found.appended_at = datetime.fromtimestamp(messages.timestamps[0] / 1000, UTC)
    where = {"topic": topic, "partition": partition, "offset": offset}
    found.archive_parts = query_frame(clickhouse, _PARTS, where)["path"].to_list()
    at = row["event_time"]
    if isinstance(at, datetime):
        hour = at.replace(minute=0, second=0, microsecond=0)
        square = {**identity, "network": row["network"], "hour_s": int(hour.timestamp())}
        found.builds = query_frame(clickhouse, _BUILDS, square).to_dicts()
    return found


def _placed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name each row's place in the log by one text."""
    return [{**row, "position": position_id(row["log_topic"], row["log_partition"], row["log_offset"])} for row in rows]
