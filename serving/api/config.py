"""What one process of the API is told. Belongs here: its settings. Does not belong here: reading them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """URLs of the stores, and limits. A rate of 0 never refuses.

    `live_staleness`: seconds that an answer may be behind the store. `closed_staleness`: the same for ranges in which
    events are complete, where only what is late, or sealed again, changes anything; a new seal ends it at once.
    """

    clickhouse_url: str
    cache_url: str
    access_url: str
    requests_per_second: float = 200.0
    live_staleness: float = 1.0
    closed_staleness: float = 30.0
