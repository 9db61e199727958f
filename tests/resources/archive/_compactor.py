"""A process that writes two parts and compacts them; killed at TALLY_CRASH_AT. Run by test_archive_faults."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import polars as pl

from resources.archive.object_archive import ObjectArchive
from resources.archive.objects import open_objects
from resources.raw_store import PositionRange

url, folder = sys.argv[1:]
hour = datetime(2024, 5, 1, 12, tzinfo=UTC)
archive = ObjectArchive(url, open_objects(url), keep_replaced=timedelta(0))
for start, end in ((0, 40), (40, 100)):
    events = pl.read_ipc(f"{folder}/{start}.arrow")
    archive.write_part(hour, events, [PositionRange("content-events", 0, start, end)])
archive.compact(hour)
