"""The folder of the local Dagster instance: its file, and its storage made by one process before many open it.

Belongs here: first use. Does not belong here: what the instance file says (deploy/dagster).

Dagster's SQLite storage makes itself on first use, and two processes that do so at once leave a schema that no process
can open again ("more than one head"). So one process makes it, and a marker says that it was done to the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from orchestration.settings import Settings
from orchestration.stack.errors import StackError
from orchestration.stack.plan import DAGSTER_FILES

_MARKER = ".storage-is-made"
_STORAGE = ("history", "schedules", "storage")


def prepare_dagster_home(settings: Settings) -> None:
    """Bring DAGSTER_HOME to a state that any number of processes can open. Raises StackError when it cannot."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(DAGSTER_FILES / "dagster.yaml", home / "dagster.yaml")
    marker = home / _MARKER
    if marker.exists():
        return
    for name in _STORAGE:  # without the marker nothing of ours has ever run on it: a making that was cut off
        shutil.rmtree(home / name, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "migrate"],
        env={**os.environ, **settings.environment(), "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise StackError(f"Dagster cannot make its storage in {home}:\n{(made.stderr or made.stdout).strip()[-2000:]}")
    marker.touch()
