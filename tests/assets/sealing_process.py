"""A process that seals everything of the stores it is given; a test kills it at a named place."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from assets.raw_events.process import Stores, archive_hour
from assets.sealing import SealRequest, seal_range
from resources.archive import open_archive
from resources.clickhouse import open_clickhouse
from resources.event_log import open_event_log
from resources.raw_store import open_raw_store

if __name__ == "__main__":
    log, raw_store, archive, clickhouse, first_hour = sys.argv[1:]
    stores = Stores(open_event_log(log), open_raw_store(raw_store), open_archive(archive), open_clickhouse(clickhouse))
    hour = datetime.fromisoformat(first_hour)
    for number in range(2):
        archive_hour(stores, hour + timedelta(hours=number), datetime.now(UTC))
    everything = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    sealed = seal_range(stores, everything, "child", lambda _text: None)
    sys.exit(1 if sealed.failed else 0)
