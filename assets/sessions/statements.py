"""The statements that fill and compare builds of sessions.

Belongs here: SQL text around the macros of dbt_project/macros/sessions.sql. Does not belong here: running it (`build`).

Parameters of a chunk: `from_s` and `end_s` are its first day and the one after its last, `to_s` is a day later.
People are divided into `shards`; `shard` is the one that is read.
"""

from __future__ import annotations

from functools import cache

from assets.publishing.restate import PUBLISHED_SCOPE
from resources.clickhouse.sql import render

SESSION_NUMBERS = """
SELECT bucket, network, count() AS rows, sum(events) AS events
FROM sessions_builds
WHERE bucket >= toDateTime({{from_s:Int64}}, 'UTC') AND bucket <= toDateTime({{to_s:Int64}}, 'UTC')
    AND (network, bucket, build_id) IN
        (SELECT network, bucket, {which} FROM build_scopes WHERE build_id = toUUID({{build_id:String}}))
GROUP BY bucket, network
"""
"""Sessions and their events per pair of a build; `which` is the column of `build_scopes` that names it."""

CHANGED_SESSIONS = """
SELECT 'session_events' AS metric, toStartOfInterval(toDateTime(started_at, 'UTC'), toIntervalMinute(15)) AS bucket,
    workspace, network, '' AS type, 'session' AS dimension, toString(session_id) AS member,
    sumIfOrNull(events, build_id != toUUID({build_id:String})) AS old_value,
    sumIfOrNull(events, build_id = toUUID({build_id:String})) AS new_value
FROM sessions_builds
WHERE sessions_builds.bucket >= toDateTime({from_s:Int64}, 'UTC')
    AND sessions_builds.bucket <= toDateTime({to_s:Int64}, 'UTC')
    AND (network, sessions_builds.bucket, build_id) IN (@scope)
GROUP BY started_at, workspace, network, session_id
""".replace("@scope", PUBLISHED_SCOPE)
"""As `Changes.rows`: a row per session, its events before and now, null where there is no such session."""

_SCOPE = "SELECT network, @columns FROM build_scopes WHERE build_id = toUUID({build_id:String})"
_IN_SLICES = """
    event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64}, 'UTC')
    AND network IN {networks:Array(String)}
    AND (network, toStartOfHour(event_time), build_id) IN (@scope)
""".replace("@scope", _SCOPE.replace("@columns", "source_bucket, source_build_id"))
_IN_SHARD = "cityHash64(workspace, actor) % {shards:UInt64} = {shard:UInt64}"
_WHO = "(workspace, network, actor, if(actor = '', JSONExtractString(properties, 'device_id'), ''))"
# Who is active in the last half hour of the last day may go on after midnight; nobody else's next day matters.
_MAY_GO_ON = """
    (
        event_time < toDateTime({end_s:Int64}, 'UTC')
        OR @who IN
        (
            SELECT @who FROM connector_slices_builds
            WHERE event_time > toDateTime({end_s:Int64} - 1800, 'UTC')
                AND event_time < toDateTime({end_s:Int64}, 'UTC') AND @in_slices
        )
    )
""".replace("@who", _WHO).replace("@in_slices", _IN_SLICES)
_BUILT = """
(
    SELECT * EXCEPT (bucket) FROM sessions_builds
    WHERE build_id = toUUID({build_id:String}) AND network IN {networks:Array(String)}
        AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({end_s:Int64}, 'UTC')
)
"""


@cache
def events_of_chunk() -> str:
    """Select what sessions look at (SESSION_EVENT_SCHEMA) in the events of a shard that a chunk needs."""
    rows = render(
        "session_event_rows",
        source="connector_slices_builds",
        condition=f"{_IN_SLICES} AND {_IN_SHARD} AND {_MAY_GO_ON}",
    )
    return f"""
SELECT toString(event_id) AS event_id, * EXCEPT (event_id)
FROM ({rows})
WHERE actor != '' OR device_id != ''
"""  # noqa: S608 - made of constants


@cache
def handed_to_chunk() -> str:
    """Select the last event of each session of the day before that has events in the chunk.

    The day before is read from this build where it is part of it, else from its published one.
    """
    before = "bucket = toDateTime({from_s:Int64} - 86400, 'UTC')"
    staged = _SCOPE.replace("network, @columns", "bucket, network")
    published = render("published_builds", dataset="sessions", condition=before)
    return f"""
SELECT workspace, network, actor, device_id, ended_at, toString(last_event_id) AS last_event_id
FROM sessions_builds
WHERE {before} AND network IN {{networks:Array(String)}} AND {_IN_SHARD}
    AND ended_at >= toDateTime64({{from_s:Int64}}, 3, 'UTC')
    AND (bucket, network, build_id) IN
    (
        SELECT bucket, network, toUUID({{build_id:String}}) FROM ({staged})
        UNION ALL
        SELECT bucket, network, build_id FROM ({published}) WHERE (bucket, network) NOT IN ({staged})
    )
"""  # noqa: S608 - made of constants


@cache
def facts_of_chunk() -> str:
    """Write the facts of the chunk's staged sessions, and of its events that are in none."""
    rows = render(
        "session_event_rows",
        source="connector_slices_builds",
        condition=f"{_IN_SLICES} AND event_time < toDateTime({{end_s:Int64}}, 'UTC') AND actor = ''",
    )
    nobodys = f"(SELECT * FROM ({rows}) WHERE device_id = '')"  # noqa: S608 - made of constants
    facts = render("session_facts", sessions=_BUILT, nobodys=nobodys)
    return f"""
INSERT INTO facts_builds (build_id, dataset, bucket, workspace, network, dimension, member, measure, value)
SELECT toUUID({{build_id:String}}), 'sessions', bucket, workspace, network, dimension, member, measure, value
FROM ({facts})
"""  # noqa: S608 - made of constants
