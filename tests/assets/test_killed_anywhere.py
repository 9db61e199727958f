"""Sealing is killed at every place where it could leave something half done; running again is the only repair."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from assets.publishing.maintenance import purge_unpublished
from assets.raw_events.process import Stores
from assets.sealing import Sealed
from resources.clickhouse import query_frame

CHILD = Path(__file__).with_name("sealing_process.py")
FIRST_HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)

PLACES = (
    "raw_events.archived",
    "publish.connector_slices.before",
    "publish.connector_slices.after",
    "publish.engagement_hourly.before",
    "publish.engagement_hourly.after",
    "publish.engagement_daily.after",
)


def test_killed_at_every_place_in_turn_it_ends_as_if_never_killed(
    platform: Any,
    stores: Stores,
    two_hours: pl.DataFrame,
    seal_all: Callable[..., Sealed],
    sealed_hours: Callable[..., pl.DataFrame],
) -> None:
    urls = [platform.urls[name] for name in ("event_log", "raw_store", "archive", "clickhouse")]
    command = [sys.executable, str(CHILD), *urls, FIRST_HOUR.isoformat()]
    for place in PLACES:
        killed = subprocess.run(command, env={**os.environ, "TALLY_CRASH_AT": place}, check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, f"{place} was not reached: {killed.stderr.decode()[-2000:]}"
    assert seal_all().failed == {}

    whole = sealed_hours()
    assert whole.filter(pl.col("dimension") == "all")["events"].sum() == two_hours.height
    assert sealed_hours("engagement_daily").filter(pl.col("dimension") == "all")["events"].sum() == two_hours.height
    parts = [part for number in range(2) for part in stores.archive.parts(FIRST_HOUR + timedelta(hours=number))]
    assert sum(part.rows for part in parts) == two_hours.height
    changes = query_frame(
        platform.clickhouse,
        "SELECT count() AS n FROM restatements WHERE build_id IN (SELECT build_id FROM seals)",
    )
    assert changes["n"].to_list() == [0], "a crash is not a change of a closed hour"

    assert purge_unpublished(platform.clickhouse)["connector_slices"] == 0, "what is young may be on its way"
    assert purge_unpublished(platform.clickhouse, timedelta(0))["connector_slices"] > 0
    assert sealed_hours().equals(whole)
    again = seal_all(rebuild=True)
    assert again.failed == {}
    assert all(report.published.is_empty() for report in again.reports)
