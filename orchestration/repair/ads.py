"""Have live ads of some hours made anew: events they rest on were written again.

Belongs here: forgetting what they were made of. Does not belong here: making them (the publisher's task does, for every
hour whose events are not as many as those it was made of).
"""

from __future__ import annotations

from collections.abc import Collection

from contracts.ads import ad_rules
from resources.clickhouse import Client
from resources.clickhouse.cluster import changeable


def forget_live_ads(client: Client, hours: Collection[int]) -> None:
    """Forget live ads of the hours (s since 1970) and of all that look back on them.

    An event whose value was changed and put right leaves the number of events as it is: by that nobody would notice.
    """
    if not hours:
        return
    client.command(
        f"ALTER TABLE {changeable('live_ad_hours')} DELETE WHERE source_hour >= toDateTime({{from_s:Int64}}, 'UTC')"
        " AND source_hour <= toDateTime({to_s:Int64}, 'UTC') SETTINGS mutations_sync = 2",
        parameters={"from_s": min(hours), "to_s": max(hours) + int(ad_rules().lead.total_seconds())},
    )
