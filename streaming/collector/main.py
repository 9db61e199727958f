"""Starting the collector: uvicorn with our limits.

Belongs here: wiring. Does not belong here: the interface (`app`).
"""

from __future__ import annotations

import math
import socket

import uvicorn

from streaming.collector.app import build_app
from streaming.collector.config import CollectorConfig
from streaming.process import set_up_logging, stop_on_signals


def run_collector(config: CollectorConfig) -> None:
    """Serve until SIGTERM or SIGINT: no new connections, running requests are answered, then the log is closed.

    Raises OSError naming host and port when the port is in use.
    """
    set_up_logging()
    listening = listen(config.host, config.port)
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


def listen(host: str, port: int, who: str = "the collector") -> socket.socket:
    """Bind before anything is opened, so that a port in use is said in one clear sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"{who} cannot listen on {host}:{port}: {error.strerror}") from error
    return listening
