"""Errors of the local stack; each message is one a person can act on.

Belongs here: exception types. Does not belong here: printing them.
"""

from __future__ import annotations

from collections.abc import Sequence


class StackError(Exception):
    """The stack could not do what was asked; the message names the process or file and the cause."""


class PortInUseError(StackError):
    """One or more ports are taken; one line per port, with its holder and the setting to change."""


class ProcessFailedError(StackError):
    """A process did not become ready. `log` holds its last lines, `log_path` where to read more."""

    def __init__(self, name: str, why: str, log_path: str, log: Sequence[str]) -> None:
        super().__init__(f"{name} did not come up: {why}")
        self.name = name
        self.why = why
        self.log_path = log_path
        self.log = list(log)
