"""What `tally process …` runs: the streaming processes with their part of the settings.

Belongs here: settings → each process's own configuration. Does not belong here: the processes themselves (`streaming`).
Nothing here may import Dagster: it would cost each of these processes 65 MB (a test looks at `sys.modules`).
"""

from __future__ import annotations

from typing import Literal

from orchestration.settings import Settings
from orchestration.stack.paths import StackPaths


def run_collector_process(settings: Settings) -> None:
    """Serve HTTP until SIGTERM. Raises ValueError when the write keys have a wrong form."""
    from streaming.collector.config import CollectorConfig, parse_write_keys
    from streaming.collector.main import run_collector

    run_collector(
        CollectorConfig(
            event_log_url=settings.event_log_url,
            raw_store_url=settings.raw_store_url,
            write_keys=parse_write_keys(settings.write_keys.get_secret_value()),
            host=settings.collector_host,
            port=settings.collector_port,
            topic_partitions=settings.topic_partitions,
            retention_days=settings.retention_days,
        )
    )


def run_worker_process(settings: Settings, group: Literal["raw", "live"]) -> None:
    """Carry the event log into the group's store until SIGTERM."""
    from streaming.worker.config import WorkerConfig
    from streaming.worker.main import run_worker

    run_worker(
        WorkerConfig(
            group=group,
            event_log_url=settings.event_log_url,
            raw_store_url=settings.raw_store_url,
            clickhouse_url=settings.clickhouse_url,
            member_id=settings.worker_id or None,
            topic_partitions=settings.topic_partitions,
            retention_days=settings.retention_days,
            stats_path=StackPaths(settings.home).worker_stats(group),
        )
    )
