"""The audit: every store is compared, content and all, with what it was made from, and what differs is named.

Belongs here: the comparisons and their findings. Does not belong here: repairing (`orchestration.repair`), printing,
the way messages are decoded and slices are filtered (given as functions: those rules live in other rooms).

| store | compared with |
|---|---|
| raw store | the messages of the event log, as long as it keeps them; then the archive |
| ClickHouse (`events`, `live_rejects`, `event_positions`) | the same |
| archive | manifests, index and bytes; rows with the same |
| slices | the archived rows of their hour that the first filter admits |
| live rollups, `live_progress` | `events`, rolled up again |
| sealed rollups | the builds they were made from, rolled up again |
| sealed facts, sessions, credits | what their build held when it was published |
| seals | the builds they name, these builds' sources, and the newest slice of each hour |
"""
