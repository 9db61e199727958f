"""One command at a time: a file lock of the kernel's, which ends with its holder, however that ends.

Belongs here: waiting for a lock, and saying who has it. Does not belong here: what is done under it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orchestration.stack.errors import StackError

_POLL_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, what: str, wait: float, busy: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock for the block; `what` is written into the file for those who meet it held.

    Raises StackError with `busy(who)` when somebody holds it for longer than `wait` seconds.
    """
    with path.open("a+") as file:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(busy(path.read_text().strip() or "another command")) from None
                time.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(f"{what} (pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
        file.flush()
        yield
