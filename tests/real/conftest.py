"""Real rows through the whole spine: file → log → stores → live tables → archive → sealed tables.

The data sets are not part of the project. TALLY_REAL_DATA names their folder; without it a folder beside the checkout
is used, and where neither is there the tests are skipped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from contracts.mapping import load_mapping
from resources.archive import open_archive
from resources.clickhouse import query_frame
from resources.event_log import open_event_log
from resources.raw_store import open_raw_store
from serving.query import MetricQuery, answer
from streaming.sources.files import IngestAccount, ingest_files, wait_until_processed
from streaming.topics import create_topics
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

ROOT = Path(__file__).resolve().parents[2]
_BESIDE = next(ROOT.parent.glob("*/data/wikipedia_edits.json.gz"), ROOT / "no-data" / "file").parent
DATA = Path(os.environ.get("TALLY_REAL_DATA", _BESIDE))
WORKSPACE = "real"


@pytest.fixture
def real_file() -> Callable[[str], Path]:
    """The path of a data set's file; skips the test where it is not."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not here; TALLY_REAL_DATA may name its folder")
        return path

    return find


@dataclass
class Spine:
    """The stores of one test with both workers running; `load` returns when the rows are in both."""

    stores: Stores

    def load(self, paths: list[Path], network: str) -> tuple[IngestAccount, dict[str, object]]:
        account = ingest_files(paths, load_mapping(network), self.stores.log, WORKSPACE)
        assert wait_until_processed(self.stores.log, ["raw", "live"], list(account.ranges.values()), timeout=60)
        return account, dict(self.stores.raw_store.receipt(account.receipt_id))

    def seal(self, start: datetime, end: datetime) -> None:
        sealed = seal_range(self.stores, SealRequest(start, end), "test", lambda _line: None)
        assert not sealed.failed
        assert sealed.incomplete.is_empty()

    def rollup(self, table: str, dimension: str) -> pl.DataFrame:
        """bucket, type, member, events, actors of one dimension of a rollup table, sorted."""
        return query_frame(
            self.stores.clickhouse,
            f"SELECT toDateTime64(bucket, 3, 'UTC') AS bucket, type, member, sum(events) AS events,"
            f" uniqExactMerge(actors) AS actors FROM {table}"
            " WHERE dimension = {dimension:String} GROUP BY bucket, type, member ORDER BY bucket, type, member",
            {"dimension": dimension},
        )

    def ask(self, metric: str, **question: object) -> pl.DataFrame:
        return answer(self.stores.clickhouse, MetricQuery(metric=metric, workspace=WORKSPACE, **question)).frame


@pytest.fixture
def spine(tmp_path: Path, clickhouse: Client, clickhouse_url: str) -> Iterator[Spine]:
    log_url, raw_url = f"sqlite:///{tmp_path}/log.db", f"sqlite:///{tmp_path}/raw.db"
    log, raw_store = open_event_log(log_url), open_raw_store(raw_url)
    create_topics(log, 4, None)
    raw_store.ensure_schema()
    archive = open_archive(f"file://{tmp_path}/archive")
    stop = threading.Event()
    workers = [
        threading.Thread(
            target=run_worker,
            args=(
                WorkerConfig(group=group, event_log_url=log_url, raw_store_url=raw_url, clickhouse_url=clickhouse_url),
                stop,
            ),
        )
        for group in ("raw", "live")
    ]
    for worker in workers:
        worker.start()
    yield Spine(Stores(log, raw_store, archive, clickhouse))
    stop.set()
    for worker in workers:
        worker.join(20)
    raw_store.close()
    log.close()
