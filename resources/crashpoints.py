"""Named places where a process may be killed on purpose, so that tests can prove that it does not matter.

Belongs here: the one function. Does not belong here: what the places are; each is named where it is called.
"""

from __future__ import annotations

import os
import signal

_AT = os.environ.get("TALLY_CRASH_AT", "")
_REMAINING = [int(os.environ.get("TALLY_CRASH_AFTER", "1"))]


def crashpoint(name: str) -> None:
    """Send SIGKILL to this process when `TALLY_CRASH_AT` equals `name`; otherwise cost nothing.

    `TALLY_CRASH_AFTER=n` kills at the n-th passage instead of the first.
    """
    if name != _AT:
        return
    _REMAINING[0] -= 1
    if _REMAINING[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
