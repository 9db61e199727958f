"""Processes a stack left behind when its supervisord was killed.

Belongs here: finding and ending them. Does not belong here: stopping a stack whose supervisord answers (`lifecycle`).

Every process of a stack carries `TALLY_STACK_MEMBER=<home>` in its environment, its children included, so a process is
recognised by what it is and not by a pid that the system may have given to another one since.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from orchestration.stack.supervisord import MEMBER_VARIABLE


def members(home: Path) -> list[psutil.Process]:
    """Return this user's live processes that belong to the stack of this home, without the caller and its parents."""
    this = psutil.Process()
    spared = {this.pid, *(parent.pid for parent in this.parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if process.uids().real == os.getuid() and process.environ().get(MEMBER_VARIABLE) == str(home):
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or not ours to look at
    return found


def end(processes: Sequence[psutil.Process], grace: float = 4.0) -> int:
    """TERM, wait up to `grace` seconds, KILL what is left. Returns how many there were."""
    for process in processes:
        _signal(process, kill=False)
    for process in wait_gone(processes, grace):
        _signal(process, kill=True)
    wait_gone(processes, 2.0)
    return len(processes)


def wait_gone(processes: Sequence[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until all have ended, at most `timeout` seconds; returns those that have not.

    A zombie has ended: in a container whose first process does not collect the dead, it stays one for ever.
    """
    deadline = time.monotonic() + timeout
    alive = list(processes)
    while alive := [process for process in alive if _alive(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return alive


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        if kill:
            process.kill()
        else:
            process.terminate()
