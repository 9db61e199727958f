"""Waiting between attempts: exponential with jitter, ended early by a stop, and one log line per outage.

Belongs here: pacing. Does not belong here: which errors are transient (each writer says so).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The worker was told to stop while it waited for a store; nothing was acknowledged, so nothing is lost."""


class Backoff:
    """Delays of `base * 2**n` seconds up to `ceiling`, each drawn uniformly between half of that and all of it."""

    def __init__(self, base: float = 0.1, ceiling: float = 10.0) -> None:
        self._base = base
        self._ceiling = ceiling
        self._attempt = 0

    def next_delay(self) -> float:
        full = min(self._ceiling, self._base * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def until_done(
    action: Callable[[], T],
    *,
    transient: tuple[type[Exception], ...],
    stop: threading.Event,
    what: str,
    on_state: Callable[[str], None] | None = None,
    backoff: Backoff | None = None,
) -> T:
    """Call `action` until it returns. A transient error waits and repeats; any other is raised to the caller.

    `what` names the store in the log: once when it begins to fail, once when it is back. `on_state` gets the same
    sentence, and '' when all is well. Raises StoppedError when `stop` is set while waiting.
    """
    waits = backoff or Backoff()
    failing_since = 0.0
    while True:
        try:
            result = action()
        except transient as error:
            if not failing_since:
                failing_since = time.monotonic()
                _log.warning("%s is not available, trying again until it is: %s", what, error)
                if on_state:
                    on_state(f"{what} is not available: {error}")
            if stop.wait(waits.next_delay()):
                raise StoppedError(f"stopped while {what} was not available: {error}") from error
            continue
        if failing_since:
            _log.warning("%s is back after %.1f s", what, time.monotonic() - failing_since)
            if on_state:
                on_state("")
        return result
