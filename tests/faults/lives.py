"""A process that forks one life of the journey after another: `python lives.py`, one JSON line per life on stdin.

Belongs here: forking. Does not belong here: what a life does (`journey`).

Imports take most of a short process's time, so they are done once, in a process that uses nothing of what it imports:
threads, those of polars among them, do not survive a fork.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from journey import Journey  # beside this file

from orchestration.settings import Settings


def live(environment: dict[str, str]) -> int:
    """Fork one life with these variables set; return its exit code, negative when a signal ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ.update(environment)
            Journey(Settings()).run(environment["JOURNEY_UNTIL"])
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{live(json.loads(line))}\n")
        sys.stdout.flush()
