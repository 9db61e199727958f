"""Free loopback ports for servers of tests.

Belongs here: choosing. Does not belong here: the ports of a stack (settings).
"""

from __future__ import annotations

import random
import socket

LOCAL = "127.0.0.1"


def free_port() -> int:
    """A free port below the range from which the system takes the ports of outgoing connections.

    A port of that range may be taken by anyone's connection while a server is down between two starts.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - nothing secret about a port
        with socket.socket() as probe:
            try:
                probe.bind((LOCAL, port))
            except OSError:
                continue
        return port
