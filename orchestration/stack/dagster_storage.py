"""Makes the storage of a Dagster instance: `python -m orchestration.stack.dagster_storage`, with DAGSTER_HOME set.

Belongs here: nothing else. Does not belong here: the instance's configuration (`deploy/dagster/dagster.yaml`).

Four Dagster processes that open an empty instance at the same moment each create its SQLite tables, and one of them
dies of it ("alembic_version has more than one head"). So one process does it before they start.
"""

from __future__ import annotations

import os
from pathlib import Path

from dagster import DagsterInstance

from orchestration.stack.paths import STORAGE_STAMP


def make_storage() -> None:
    """Touch each of the three storages: their tables are made at first use."""
    with DagsterInstance.get() as instance:
        instance.get_runs_count()
        instance.all_asset_keys()
        instance.all_instigator_state()
    (Path(os.environ["DAGSTER_HOME"]) / STORAGE_STAMP).touch()


if __name__ == "__main__":
    make_storage()
