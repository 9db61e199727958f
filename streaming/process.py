"""What every long-running process of ours does alike: stop on a signal, log in one form, tell its state in a file.

Belongs here: signals, log set-up, taking a port, replacing a file. Does not belong here: work, and what is in the file.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. Must be called in the main thread."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def set_up_logging(level: str = "info") -> None:
    """Log to standard error in UTC: `2026-01-01T00:00:00Z level logger: message`."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def replace_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file: a reader sees the old one or the new one, never half of it. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)


def listen(host: str, port: int, who: str) -> socket.socket:
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
