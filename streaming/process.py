"""What every long-running process of ours does alike: stop on a signal, log in one form.

Belongs here: signals and log set-up. Does not belong here: work.
"""

from __future__ import annotations

import logging
import signal
import threading
import time


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. Must be called in the main thread."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def set_up_logging(level: str = "info") -> None:
    """Log to standard error in UTC: `2026-01-01T00:00:00Z level logger: message`."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
