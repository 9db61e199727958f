"""Roles and what each may do. Belongs here: the one table of permissions. Does not belong here: who has which role."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Action(StrEnum):
    """What a request does. A route names exactly one; what no role lists is refused."""

    READ = "read"  # metrics, boards, the catalogue
    EXPLAIN = "explain"  # SQL, builds and log offsets of a number
    MANAGE_KEYS = "manage_keys"  # keys of the own workspace


class Role(StrEnum):
    VIEWER = "viewer"
    ANALYST = "analyst"
    EDITOR = "editor"
    ADMIN = "admin"


_READS = frozenset({Action.READ})
_ANALYSES = _READS | {Action.EXPLAIN}

ALLOWED: Mapping[Role, frozenset[Action]] = {
    Role.VIEWER: _READS,
    Role.ANALYST: _ANALYSES,
    Role.EDITOR: _ANALYSES,
    Role.ADMIN: _ANALYSES | {Action.MANAGE_KEYS},
}


def may(role: Role, action: Action) -> bool:
    return action in ALLOWED[role]
