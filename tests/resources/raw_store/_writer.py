"""A process that stores the same batches in order and can be killed at any instant; run by test_sqlite_faults."""

from __future__ import annotations

import sys

import polars as pl

from resources.raw_store import open_raw_store

url, folder, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_raw_store(url)
for number in range(batches):
    print(*store.put_events(pl.read_ipc(f"{folder}/events-{number}.arrow")), flush=True)  # noqa: T201 - the test reads it
    store.put_quarantine(pl.read_ipc(f"{folder}/rejects-{number}.arrow"))
