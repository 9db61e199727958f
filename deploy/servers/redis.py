"""Redis, as a server of tests. (The stack's own is `deploy.local.engines.redis_command`, which this runs too.)

Belongs here: starting it. Does not belong here: keys (`resources.cache`).
"""

from __future__ import annotations

from pathlib import Path

from deploy.local.engines import EngineMissingError, find_redis, redis_command
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.process import Server
from deploy.servers.ready import redis_ready


def missing() -> str | None:
    """What this machine lacks to run it, with the command that installs it; None: nothing."""
    try:
        find_redis()
    except EngineMissingError as error:
        return str(error)
    return None


def server(folder: Path, port: int = 0) -> Server:
    """A cache: bounded memory, nothing on disk."""
    port = port or free_port()
    return Server(
        "redis",
        folder,
        port,
        lambda: redis_command(folder, port),
        redis_ready(port),
        url=f"redis://{LOCAL}:{port}/0",
    )
