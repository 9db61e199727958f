"""Starting the collector: uvicorn with our limits.

Belongs here: wiring. Does not belong here: the interface (`app`).
"""

from __future__ import annotations

import math

import uvicorn

from streaming.collector.app import build_app
from streaming.collector.config import CollectorConfig
from streaming.process import listen, set_up_logging, stop_on_signals


def run_collector(config: CollectorConfig) -> None:
    """Serve until SIGTERM or SIGINT: no new connections, running requests are answered, then the log is closed.

    Raises OSError naming host and port when the port is in use.
    """
    set_up_logging()
    listening = listen(config.host, config.port, "the collector")
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(config),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(config.drain_timeout),
            timeout_keep_alive=30,
        )
    )
    stop_on_signals()  # uvicorn raises the signal again when it has shut down; then it must not kill
    server.run(sockets=[listening])
