"""Real servers on this machine, without containers: Kafka, MongoDB's protocol, Redis, PostgreSQL, S3.

Belongs here: finding or fetching each server, its configuration, its command line, starting and stopping it. Does not
belong here: supervising a stack (`orchestration.stack`), the embedded engines (`deploy.local`), clients of a server.

One module per server. Each has `command(…)`, which prepares the folder and returns what to run, `server(…)`, which
gives a `Server` that a test can start, kill, pause and start again on the same port and data, and `missing()`.
What has to be downloaded is kept in $XDG_CACHE_HOME/tally/servers (default ~/.cache/tally/servers).
"""

from __future__ import annotations

from deploy.servers.errors import MissingError, ServerError
from deploy.servers.process import Server

__all__ = ["MissingError", "Server", "ServerError"]
