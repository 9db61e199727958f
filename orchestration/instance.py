"""The Dagster instance of a home folder: its `dagster.yaml`, made where it is missing.

Belongs here: opening the instance for commands that run a job themselves. Does not belong here: starting daemons.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from orchestration.settings import PROJECT_ROOT, Settings

INSTANCE_FILE = PROJECT_ROOT / "deploy" / "dagster" / "dagster.yaml"


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance that DAGSTER_HOME names, or that of the settings' home."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        config = settings.dagster_home / "dagster.yaml"
        if not config.exists():
            shutil.copyfile(INSTANCE_FILE, config)
        home = str(settings.dagster_home)
    with dg.DagsterInstance.from_config(home) as instance:
        yield instance
