"""One repair, replay or rebuild at a time in a home, and what it stops for its work starts again whatever happens.

Belongs here: the lock, the lease of a stopped process, and starting what a dead holder left stopped. Does not belong
here: the work itself (`orchestration.repair`, `orchestration.replay`).

The lock is the kernel's and ends with its holder. A lease is a file that says who stopped which process: whoever looks
(the auditor process every few seconds, `tally status`, the next repair) and finds its holder dead starts the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from orchestration.stack.errors import StackError
from orchestration.stack.locks import exclusive
from orchestration.stack.paths import StackPaths
from orchestration.stack.supervisord import Supervisor, running_pid

_PAUSE_SECONDS = 15.0
_LOCK_SECONDS = 1.0
_SAME_START = 1.0
"""Seconds by which two readings of a process's start may differ: a pid that was given again started much later."""


@contextmanager
def mending(home: Path, what: str) -> Iterator[None]:
    """Let one holder at a time mend this home's stores. Raises StackError naming the holder when there is one."""
    paths = StackPaths(home)
    paths.create()
    busy = "{} is at work on " + str(home) + "; wait until it has ended"
    with exclusive(paths.mending, what, _LOCK_SECONDS, busy.format):
        start_abandoned(home)
        yield


@contextmanager
def paused(home: Path, process: str) -> Iterator[None]:
    """Stop a process of this home's stack for the block. Without a stack here, nothing is paused.

    Raises StackError when the process does not stop.
    """
    paths = StackPaths(home)
    supervisor = Supervisor(paths)
    if running_pid(paths) is None or not supervisor.answers():
        yield
        return
    lease = paths.lease(process)
    _write(lease)  # before the stop: a holder that dies in between is found
    supervisor.stop(process)
    waiting = threading.Event()
    for _ in range(int(_PAUSE_SECONDS * 10)):
        if supervisor.states()[process].gone:
            break
        waiting.wait(0.1)
    else:
        # The lease stays: when this process has ended, the other one is started again.
        raise StackError(f"{process} does not stop; `tally status` shows it")
    try:
        yield
    finally:
        supervisor.start(process)
        lease.unlink(missing_ok=True)


def start_abandoned(home: Path) -> list[str]:
    """Start every process that was stopped by a holder that is dead; returns their names.

    Raises StackError when supervisord does not take the order. Without a running stack nothing is done.
    """
    paths = StackPaths(home)
    leases = [lease for lease in paths.leases() if not _is_held(lease)]
    if not leases or running_pid(paths) is None:
        return []
    started = []
    for lease in leases:
        Supervisor(paths).start(lease.stem)
        lease.unlink(missing_ok=True)
        started.append(lease.stem)
    return started


def _write(lease: Path) -> None:
    lease.parent.mkdir(parents=True, exist_ok=True)
    draft = lease.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()}))
    draft.replace(lease)


def _is_held(lease: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        held = json.loads(lease.read_text())
        process = psutil.Process(held["pid"])
        # A zombie has ended: in a container whose first process does not collect the dead, it stays one for ever.
        dead = process.status() == psutil.STATUS_ZOMBIE
        return not dead and abs(process.create_time() - held["started"]) < _SAME_START
    return False
