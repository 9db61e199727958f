"""The API process: settings → its configuration, and the server around it.

Belongs here: wiring, shutting down. Does not belong here: the interface (`serving.api`), and Dagster, which would cost
this process 65 MB (a test looks at `sys.modules`).
"""

from __future__ import annotations

import socket

import uvicorn

from orchestration.settings import Settings
from serving.api.app import build_app
from serving.api.config import ApiConfig
from streaming.process import listen, set_up_logging, stop_on_signals

DRAIN_SECONDS = 3
SLOW_MILLISECONDS = 30_000


def run_api_process(settings: Settings) -> None:
    """Serve until SIGTERM: no new connections, running requests are answered. Raises OSError for a port in use."""
    set_up_logging()
    listening = listen(settings.api_host, settings.api_port, "the API")
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A live client that takes nothing: closing would wait for ever for what it was sent.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SLOW_MILLISECONDS)
    config = ApiConfig(
        clickhouse_url=settings.clickhouse_url,
        cache_url=settings.cache_url,
        access_url=settings.access_url.get_secret_value(),
        requests_per_second=settings.api_requests_per_second,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(config),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            timeout_keep_alive=30,
        )
    )
    stop_on_signals()  # uvicorn raises the signal again when it has shut down; then it must not kill
    server.run(sockets=[listening])
