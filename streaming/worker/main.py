"""Starting a worker: opens the stores its group needs and runs until told to stop.

Belongs here: wiring. Does not belong here: the loop (`runner`) or the writers (`live`, `raw`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from resources.event_log import open_event_log
from resources.event_log.base import EventLog, LogUnavailableError
from streaming.process import set_up_logging, stop_on_signals
from streaming.topics import create_topics
from streaming.worker.config import WorkerConfig
from streaming.worker.progress import Progress
from streaming.worker.retry import StoppedError, until_done
from streaming.worker.runner import Worker
from streaming.worker.writing import Writer


def run_worker(config: WorkerConfig, stop: threading.Event | None = None) -> None:
    """Run one worker until `stop` is set, or SIGTERM or SIGINT when no event is given (main thread only).

    A store that is down is waited for. Raises ValueError when the group's store is not named, EventLogError when the
    topics exist with other partitions.
    """
    if stop is None:
        set_up_logging()
        stop = stop_on_signals()
    progress = Progress(config.group, config.stats_path, config.stats_interval)
    writer = _writer(config, stop, progress.problem)
    event_log = open_event_log(config.event_log_url)
    try:
        _wait_for_log(event_log, config, stop, progress.problem)
        Worker(config, event_log, writer, progress, stop).run()
    except StoppedError:
        progress.state("stopped")
    finally:
        writer.close()
        event_log.close()


def _writer(config: WorkerConfig, stop: threading.Event, on_state: Callable[[str], None]) -> Writer:
    if config.group == "raw":
        if not config.raw_store_url:
            raise ValueError("worker group 'raw' needs raw_store_url")
        from resources.raw_store import open_raw_store  # each group loads its own store's libraries only
        from streaming.worker.raw import RawWriter

        return RawWriter(open_raw_store(config.raw_store_url), stop, on_state)
    if not config.clickhouse_url:
        raise ValueError("worker group 'live' needs clickhouse_url")
    from streaming.worker.live import LiveWriter

    return LiveWriter(config.clickhouse_url, stop, on_state)


def _wait_for_log(
    event_log: EventLog, config: WorkerConfig, stop: threading.Event, on_state: Callable[[str], None]
) -> None:
    until_done(
        lambda: create_topics(event_log, config.topic_partitions, config.retention_days),
        transient=(LogUnavailableError,),
        stop=stop,
        what=f"event log {event_log.url}",
        on_state=on_state,
    )
