"""Scratch folders for servers of tests.

Belongs here: making and removing them. Does not belong here: folders of a stack (`TALLY_HOME`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder below the system's temporary one that other users may enter (PostgreSQL does not run as root)."""
    with tempfile.TemporaryDirectory(prefix="tally-servers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
