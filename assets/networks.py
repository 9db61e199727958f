"""The networks that have a square of their own in the UI, and the grids of event hours and days by network.

Belongs here: the two grids with networks. Does not belong here: ingest hours and keys (`assets.partitions`), which the
realtime code location needs without paying for the mappings.
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from assets.partitions import DAY_FORMAT, GRID_START, HOUR_FORMAT
from contracts.mapping import named_networks

NETWORKS: tuple[str, ...] = tuple(sorted({*named_networks(), "sim"}))
"""Those that a mapping names (our own SDK's, `tally`, names `app`), and the simulator's."""

EVENT_HOURS = dg.MultiPartitionsDefinition(
    {
        "hour": dg.HourlyPartitionsDefinition(start_date=GRID_START.strftime(HOUR_FORMAT), end_offset=1),
        "network": dg.StaticPartitionsDefinition(list(NETWORKS)),
    }
)
EVENT_DAYS = dg.MultiPartitionsDefinition(
    {
        "day": dg.DailyPartitionsDefinition(start_date=GRID_START.strftime(DAY_FORMAT), end_offset=1),
        "network": dg.StaticPartitionsDefinition(list(NETWORKS)),
    }
)


def on_grid(bucket: datetime, network: str, now: datetime) -> bool:
    """Whether a pair has a square of its own in the UI."""
    return GRID_START <= bucket <= now and network in NETWORKS
