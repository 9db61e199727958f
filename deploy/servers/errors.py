"""Errors of real servers; each message is one a person can act on.

Belongs here: exception types. Does not belong here: raising them.
"""

from __future__ import annotations


class ServerError(RuntimeError):
    """A server could not be prepared, started or stopped; the message names it, the cause and its last log lines."""


class MissingError(ServerError):
    """This machine lacks a program; the message says which, and the command that installs it."""
