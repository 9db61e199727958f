"""Make the live sessions anew where they do not follow from the live events any more.

Belongs here: noticing that, and starting over. Does not belong here: cutting sessions (the publisher's task does, from
`session_events`, as soon as it looks again).
"""

from __future__ import annotations

from resources.clickhouse import Client
from resources.clickhouse.sql import render

_FILL = "INSERT INTO session_events SELECT * FROM ({rows})"


def mend_sessions(client: Client) -> bool:
    """Where they disagree, fill `session_events` from `events` again and empty `live_sessions`; returns whether it did.

    The live worker must be paused. Until the publisher has cut all sessions again, live answers about sessions grow.
    """
    if client.query(render("live_sessions_follow")).result_rows[0][0]:
        return False
    rows = render("session_event_rows", source="events", more=", log_topic, log_partition, log_offset")
    client.command("TRUNCATE TABLE session_events")
    client.command(_FILL.format(rows=rows))
    client.command("TRUNCATE TABLE live_sessions_progress")
    client.command("TRUNCATE TABLE live_sessions")
    return True
