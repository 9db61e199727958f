"""The publisher process: which tasks it runs, with their part of the settings.

Belongs here: settings → tasks (`publisher_tasks` is the place to add one). Does not belong here: the loop
(`streaming.publisher`), and Dagster, which would cost this process 65 MB (a test looks at `sys.modules`).
"""

from __future__ import annotations

from orchestration.alerts.task import AlertTask, DeliveryTask
from orchestration.settings import Settings
from orchestration.stack.paths import StackPaths
from streaming.process import set_up_logging, stop_on_signals
from streaming.publisher.live_ads import LiveAds
from streaming.publisher.runner import Publisher, Task
from streaming.publisher.sessions import LiveSessions
from streaming.publisher.trends import TrendTask


def publisher_tasks(settings: Settings) -> list[Task]:
    """Every task of this stack's publisher. Making them opens nothing."""
    url = settings.clickhouse_url
    return [
        TrendTask(url, settings.cache_url),
        LiveSessions(url),
        LiveAds(url),
        AlertTask(settings),
        DeliveryTask(settings),
    ]


def run_publisher_process(settings: Settings) -> None:
    """Run the tasks until SIGTERM."""
    set_up_logging()
    stop = stop_on_signals()
    Publisher(publisher_tasks(settings), stop, StackPaths(settings.home).publisher_stats).run()
