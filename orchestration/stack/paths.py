"""Where a stack keeps its files under `TALLY_HOME`.

Belongs here: names of files and folders. Does not belong here: their contents.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

# A Unix socket's path is limited to 104 bytes on macOS and 108 on Linux; supervisord appends a suffix while binding.
_SOCKET_PATH_LIMIT = 90

STORAGE_STAMP = ".storage-made"
"""File in DAGSTER_HOME that says that its storage was made completely."""


@dataclass(frozen=True, slots=True)
class StackPaths:
    """All paths of one stack; `home` is absolute."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def config(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        return self.run / "supervisord.pid"

    @property
    def lock(self) -> Path:
        return self.run / "stack.lock"

    @property
    def mending(self) -> Path:
        """Lock of the one repair, replay or rebuild at work."""
        return self.run / "mending.lock"

    def lease(self, process: str) -> Path:
        """Says who has stopped this process and will start it again."""
        return self.run / "stopped" / f"{process}.json"

    def leases(self) -> list[Path]:
        return sorted((self.run / "stopped").glob("*.json"))

    @property
    def fingerprint(self) -> Path:
        """Digest of the settings the running stack was started with."""
        return self.run / "settings.sha256"

    @property
    def socket(self) -> Path:
        return self._socket("supervisor.sock")

    @property
    def run_host(self) -> Path:
        """Socket of the run host (`orchestration.runs`)."""
        return self._socket("run_host.sock")

    def _socket(self, name: str) -> Path:
        preferred = self.run / name
        if len(os.fsencode(preferred)) <= _SOCKET_PATH_LIMIT:
            return preferred
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tally-{os.getuid()}-{digest}" / name

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def worker_stats(self, group: str) -> Path:
        """File in which the worker of a group tells how far it is."""
        return self.run / f"worker-{group}.json"

    @property
    def publisher_stats(self) -> Path:
        """File in which the publisher tells how its tasks are."""
        return self.run / "publisher.json"

    @property
    def alerts(self) -> Path:
        """SQLite file of incidents and of what is to be delivered."""
        return self.home / "alerts.db"

    def create(self) -> None:
        """Make the folders. The socket's folder is private: who reaches the socket controls the processes."""
        for folder in (self.home, self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def last_lines(path: Path, count: int = 15, window: int = 64 * 1024) -> list[str]:
    """Return the last `count` lines of a file (of its last `window` bytes); [] when it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - window))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
