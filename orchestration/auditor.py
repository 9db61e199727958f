"""The auditor process: compares all stores for ever, at low priority, and writes down what it finds.

Belongs here: the process around `serving.audit.rounds`. Does not belong here: comparing; Dagster, which would cost this
process 65 MB (a test looks at `sys.modules`).
"""

from __future__ import annotations

import logging
import os
import threading

from orchestration.auditing import open_audit_stores
from orchestration.settings import Settings
from serving.audit.rounds import Auditor
from streaming.process import set_up_logging, stop_on_signals

NICE = 10
AGAIN_SECONDS = 5.0
"""Rest after a store did not answer."""

_log = logging.getLogger(__name__)


def run_auditor_process(settings: Settings) -> None:
    """Audit until SIGTERM."""
    set_up_logging()
    stop = stop_on_signals()
    os.nice(NICE)
    run_auditor(settings, stop)


def run_auditor(settings: Settings, stop: threading.Event) -> None:
    """Audit until `stop` is set. A store that does not answer is waited for, and the log says why."""
    while not stop.is_set():
        try:
            with open_audit_stores(settings) as stores:
                Auditor(stores, stop, _log.warning).run()
        except Exception as error:  # every store has its own errors, and none may end the audit
            _log.warning("the audit waits %g s: %s: %s", AGAIN_SECONDS, type(error).__name__, error)
            stop.wait(AGAIN_SECONDS)
