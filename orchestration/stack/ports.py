"""Ports: is one free, and if not, who holds it.

Belongs here: looking at sockets. Does not belong here: choosing which ports the stack uses (settings).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from orchestration.stack.errors import PortInUseError


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port some process of the stack listens on, and the setting that moves it."""

    owner: str
    port: int
    setting: str
    host: str = "127.0.0.1"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen on the port now (a port in TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> psutil.Process | None:
    """Return the process that listens on the port; None when it cannot be seen (another user's, or macOS)."""
    try:
        connections = psutil.net_connections(kind="inet")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            try:
                return psutil.Process(connection.pid) if connection.pid else None
            except psutil.NoSuchProcess:
                return None
    return None


def describe_holder(port: int) -> str:
    process = holder(port)
    if process is None:
        return "a process that this user cannot see"
    try:
        command = " ".join(process.cmdline())[:100] or process.name()
        return f"{process.name()} (pid {process.pid}: {command})"
    except psutil.Error:
        return f"pid {process.pid}"


def require_free(uses: Iterable[PortUse]) -> None:
    """Raise PortInUseError naming every taken port, its holder and the setting to change."""
    lines = [
        f"port {use.port} for {use.owner} is in use by {describe_holder(use.port)}: "
        f"stop it, or set {use.setting} to a free port"
        for use in uses
        if not is_free(use.port, use.host)
    ]
    if lines:
        raise PortInUseError("\n".join(lines))


def free_port_from(start: int, taken: frozenset[int] = frozenset()) -> int:
    """Return the first free port at or above `start` that is not in `taken`."""
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise PortInUseError(f"no free port from {start} upwards")
