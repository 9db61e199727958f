"""The auditor process: compares all stores for ever, at low priority, and writes down what it finds.

Belongs here: the process around `serving.audit.rounds`, and its watch over stopped processes. Does not belong here:
comparing; Dagster, which would cost this process 65 MB (a test looks at `sys.modules`).
"""

from __future__ import annotations

import logging
import os
import threading

from orchestration.auditing import open_audit_stores
from orchestration.settings import Settings
from orchestration.stack.errors import StackError
from orchestration.stack.mending import start_abandoned
from serving.audit.rounds import Auditor
from streaming.process import set_up_logging, stop_on_signals

NICE = 10
AGAIN_SECONDS = 5.0
"""Rest after a store did not answer, and between two looks for processes that were left stopped."""

_log = logging.getLogger(__name__)


def run_auditor_process(settings: Settings) -> None:
    """Audit until SIGTERM."""
    set_up_logging()
    stop = stop_on_signals()
    os.nice(NICE)
    watch = threading.Thread(target=_watch_leases, args=(settings, stop), name="leases", daemon=True)
    watch.start()
    run_auditor(settings, stop)


def _watch_leases(settings: Settings, stop: threading.Event) -> None:
    """Start again what a repair that was killed had stopped (`orchestration.stack.mending`)."""
    while not stop.wait(AGAIN_SECONDS):
        try:
            for process in start_abandoned(settings.home):
                _log.warning("%s was left stopped by a repair or replay that was killed; started again", process)
        except StackError as error:
            _log.warning("%s", error)


def run_auditor(settings: Settings, stop: threading.Event) -> None:
    """Audit until `stop` is set. A store that does not answer is waited for, and the log says why."""
    while not stop.is_set():
        try:
            with open_audit_stores(settings) as stores:
                Auditor(stores, stop, _log.warning).run()
        except Exception as error:  # every store has its own errors, and none may end the audit
            _log.warning("the audit waits %g s: %s: %s", AGAIN_SECONDS, type(error).__name__, error)
            stop.wait(AGAIN_SECONDS)
