"""What the launcher and the run host say to each other: one JSON object each way over a Unix socket.

Belongs here: the socket's address, asking. Does not belong here: what either of them does with it.

    {"launch": run id, "instance": Dagster's instance reference, "location": code location}
                           ->  {"pid": …, "started": …} of its process, or {"refused": why}
    {"holds": run id, "pid": its process}  ->  {"holds": true or false}: whether a worker executes it now;
                                               null when the process is no worker of this host
    {"interrupt": run id}  ->  {"interrupted": true or false}: as Ctrl-C would
    {"ping": true}         ->  {"workers": how many, "idle": how many}
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET_VARIABLE = "TALLY_RUN_HOST"
"""Path of the run host's socket. Unset: runs are started by Dagster's default launcher."""

MOST_BYTES = 1 << 20


class RunHostError(Exception):
    """The run host cannot be asked, or does not answer in time."""


def configured_socket() -> Path | None:
    """The socket that this process's environment names, if any."""
    path = os.environ.get(SOCKET_VARIABLE)
    return Path(path) if path else None


def ask(path: Path, request: Mapping[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send one request to the run host at `path` and return its answer.

    Raises:
        RunHostError: nobody listens there, or there is no answer within `timeout` seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(os.fspath(path))
            connection.sendall(dump(request))
            with connection.makefile("rb") as answer:
                return load(answer.readline(MOST_BYTES))
    except (OSError, ValueError) as error:
        raise RunHostError(f"run host at {path}: {error}") from error


def dump(message: Mapping[str, Any]) -> bytes:
    """One message as a line."""
    return json.dumps(message).encode() + b"\n"


def load(line: bytes) -> dict[str, Any]:
    """The message of a line.

    Raises:
        ValueError: it is not one JSON object.
    """
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError(f"not a message: nested too deeply: {line[:100]!r}") from None
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {line[:100]!r}")
    return message
