"""The task that keeps `live_sessions`: sessions of whoever was active since it last looked, never a scan of the day.

Belongs here: whom to look at, which of their events, what has changed. Does not belong here: the rule of a session
(`analytics.sessions`), what sessions look at in an event (dbt_project/macros/sessions.sql).

It follows the log's positions in `session_events`: within a partition rows appear in order of offset, so what is behind
the largest offset seen has been seen. Whatever it writes follows from that table alone, and the positions are written
last: a kill in between, or a second task beside it, makes the same sessions again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from clickhouse_connect.driver.external import ExternalData

from analytics.session_growth import grow
from analytics.sessions import GAP, IDENTITY, LONGEST, SESSION_EVENT_SCHEMA, SESSION_SCHEMA, identified, sessionise
from resources.clickhouse import Client, insert_frame, open_clickhouse, query_frame
from resources.crashpoints import crashpoint

MOST_ROWS = 25_000
"""New rows per log partition that one round takes."""

LONG_AGO = timedelta(days=2)
"""Whoever has an event this much older than the newest ones is looked up apart: that one's days are not all days."""

_REACHED = """
SELECT log_topic, log_partition, taken.reached AS log_offset, taken.newest AS version
FROM (SELECT DISTINCT log_topic, log_partition FROM live_progress) AS known
LEFT JOIN
(
    SELECT log_topic, log_partition, argMax(log_offset, version) AS reached, max(version) AS newest
    FROM live_sessions_progress
    GROUP BY log_topic, log_partition
) AS taken USING (log_topic, log_partition)
SETTINGS join_use_nulls = 1
"""
_NEW = """
SELECT toString(event_id) AS event_id, * EXCEPT (event_id)
FROM session_events
WHERE {condition}
ORDER BY log_topic, log_partition, log_offset
LIMIT {{most:UInt64}} BY log_topic, log_partition
"""
_OF_PEOPLE = """(workspace, network, actor, device_id) IN (SELECT workspace, network, actor, device_id FROM people)"""
_SESSIONS = f"""
SELECT {
    ", ".join(
        f"toString({name}) AS {name}_" if name.endswith("_id") and name != "device_id" else name
        for name in SESSION_SCHEMA
    )
}
FROM live_sessions FINAL
WHERE gone = 0 AND toStartOfDay(started_at, 'UTC') >= toDateTime({{day_s:Int64}}, 'UTC') AND {_OF_PEOPLE}
"""  # noqa: S608 - made of constants
_EVENTS = f"""
SELECT toString(event_id) AS event_id, * EXCEPT (event_id)
FROM session_events
WHERE toStartOfDay(event_time, 'UTC') >= toDateTime({{day_s:Int64}}, 'UTC')
    AND event_time >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC') AND {_OF_PEOPLE}
"""  # noqa: S608 - made of constants

_PLACE = ["log_topic", "log_partition"]
_PEOPLE_STRUCTURE = "workspace String, network String, actor String, device_id String"
_SAME = ["session_id", "events", "last_event_id"]
"""Events are only ever added: a session with as many events, from the same one to the same one, is the same session."""


@dataclass
class LiveSessions:
    """The publisher's task. `run` takes everything that is new; `stop`, when set, ends it between two rounds."""

    clickhouse_url: str
    stop: threading.Event | None = None
    every_seconds: float = 2.0
    name: str = "sessions"
    _client: Client | None = None

    def run(self, now: datetime) -> None:
        """Bring `live_sessions` up to what `session_events` holds."""
        if self._client is None:
            self._client = open_clickhouse(self.clickhouse_url)
        while take_round(self._client) and not (self.stop and self.stop.is_set()):
            pass


def take_round(client: Client) -> int:
    """Take the next new rows of every log partition into `live_sessions`; returns how many there were."""
    reached = query_frame(client, _REACHED)
    if reached.is_empty():
        return 0
    version = _newest(reached) + 1
    new = _new_rows(client, reached)
    if new.is_empty():
        return 0
    active = identified(_as_events(new))
    people = active.group_by(IDENTITY).agg(pl.col("event_time").min().alias("since"))
    changed = [_cut(client, group, active) for group in _by_age(people)]
    rows = pl.concat(changed).with_columns(pl.lit(version, pl.UInt64).alias("version")) if changed else pl.DataFrame()
    if _newest(query_frame(client, _REACHED)) != version - 1:
        return new.height  # the tables were emptied meanwhile, to be made anew: what was read is no longer so
    insert_frame(client, "live_sessions", rows)
    crashpoint("live_sessions.written")
    progress = new.group_by(_PLACE).agg(pl.col("log_offset").max(), version=pl.lit(version, pl.UInt64))
    insert_frame(client, "live_sessions_progress", progress)
    return new.height


def _newest(reached: pl.DataFrame) -> int:
    """The version of the newest round; 0 before the first."""
    return max((int(version) for version in reached["version"].drop_nulls()), default=0)


def _new_rows(client: Client, reached: pl.DataFrame) -> pl.DataFrame:
    given: dict[str, Any] = {"most": MOST_ROWS}
    conditions = []
    for number, (topic, partition, offset, _) in enumerate(reached.iter_rows()):
        names = f"t{number}", f"p{number}", f"o{number}"
        given |= dict(zip(names, (topic, partition, -1 if offset is None else offset), strict=True))
        conditions.append(
            f"(log_topic = {{t{number}:String}} AND log_partition = {{p{number}:Int32}}"
            f" AND log_offset > {{o{number}:Int64}})"
        )
    return query_frame(client, _NEW.format(condition=" OR ".join(conditions)), given)


def _by_age(people: pl.DataFrame) -> Sequence[pl.DataFrame]:
    """Those with recent events only, and those with older ones."""
    recent = pl.col("since") >= pl.col("since").max() - LONG_AGO
    return [group for group in (people.filter(recent), people.filter(~recent)) if not group.is_empty()]


def _cut(client: Client, people: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """What changes for these people (IDENTITY, `since`) by their new events: rows of live_sessions, not yet versioned.

    Who went on after the last session needs that session only; who has an event at or before its end is cut again from
    events. What a row stored twice or a repeated round brings is such an event, so nothing counts twice.
    """
    first = people["since"].min()
    assert isinstance(first, datetime)  # noqa: S101 # a group is never empty, and event times never null
    known = _of_people(client, _SESSIONS, people, first - LONGEST - GAP)
    known = known.rename({name: name[:-1] for name in known.columns if name.endswith("_id_")})
    known = known.select(pl.col(name).cast(dtype) for name, dtype in SESSION_SCHEMA.items())
    last = known.sort("started_at").unique(IDENTITY, keep="last")
    late = people.join(last, on=IDENTITY).filter(pl.col("since") <= pl.col("ended_at")).select(IDENTITY)
    on_time = new.join(people, on=IDENTITY, how="semi").join(late, on=IDENTITY, how="anti")
    grown, hard = grow(last.join(late, on=IDENTITY, how="anti"), sessionise(on_time), on_time)
    rows = [grown.with_columns(pl.lit(value=False).alias("gone"))]
    again = people.join(pl.concat([late, hard]), on=IDENTITY, how="semi")
    if not again.is_empty():
        rows.append(_cut_again(client, again, known.join(again, on=IDENTITY, how="semi")))
    return pl.concat(rows)


def _cut_again(client: Client, people: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """As `_cut`, from events. `known`: their sessions as they stand.

    Sessions before the one that holds the oldest new event stay as they are. That one still begins at its first event,
    or at the new one where there is none; from there on everything is cut again.
    """
    begun = (
        known.join(people, on=IDENTITY)
        .filter(pl.col("started_at") <= pl.col("since"))
        .filter(pl.col("since") - pl.col("started_at") <= LONGEST)
        .group_by(IDENTITY)
        .agg(pl.col("started_at").max().alias("begun"))
    )
    since = people.join(begun, on=IDENTITY, how="left").select(*IDENTITY, pl.coalesce("begun", "since").alias("since"))
    start = since["since"].min()
    assert isinstance(start, datetime)  # noqa: S101 # there are people
    events = _as_events(_of_people(client, _EVENTS, people, start)).join(since, on=IDENTITY)
    after = sessionise(events.filter(pl.col("event_time") >= pl.col("since")).drop("since"))
    before = known.join(since, on=IDENTITY).filter(pl.col("started_at") >= pl.col("since")).select(known.columns)
    gone = before.join(after, on="session_id", how="anti").with_columns(pl.lit(value=True).alias("gone"))
    new = after.join(before, on=_SAME, how="anti").with_columns(pl.lit(value=False).alias("gone"))
    return pl.concat([gone, new])


def _as_events(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of session_events as SESSION_EVENT_SCHEMA, each event once."""
    events = rows.select(pl.col(name).cast(dtype) for name, dtype in SESSION_EVENT_SCHEMA.items())
    return events.unique(["workspace", "event_id"])


def _of_people(client: Client, sql: str, people: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """Run a question about these people from an instant on."""
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    names = people.select(IDENTITY).write_ndjson().encode()
    external = ExternalData(file_name="people", data=names, fmt="JSONEachRow", structure=_PEOPLE_STRUCTURE)
    given = {"day_s": int(day.timestamp()), "from_ms": round(start.timestamp() * 1000)}
    table = client.query_arrow(sql, parameters=given, external_data=external, use_strings=True)
    return pl.DataFrame(pl.from_arrow(table))
