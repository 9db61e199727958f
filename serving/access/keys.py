"""API keys: their form, and what is kept of them.

Belongs here: making a key, taking it apart, its digest. Does not belong here: storing (`store`), passwords.

A key is `tally_<id>_<secret>`. The id is public and shown in lists; the secret is 32 random bytes. Only SHA-256 of the
whole key is kept. A fast hash is right here: nobody can guess 256 random bits however fast each guess is, and a slow
one (argon2id, which passwords need because people choose them) would cost every request its 50 ms and invite floods.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from serving.access.roles import Role

_FORM = re.compile(r"tally_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. Times are UTC; `expires_at` None: it does not expire."""

    id: str
    workspace: str
    role: Role
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def state(self, now: datetime) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_good(now):
            return "expired"
        return "replaced" if self.replaced_by else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only moment at which `token`, the key itself, is known."""

    token: str
    key: Key


def make_token() -> tuple[str, str]:
    """Return (id, token)."""
    key_id = secrets.token_hex(6)
    return key_id, f"tally_{key_id}_{secrets.token_urlsafe(32)}"


def id_of(token: str) -> str | None:
    """The id in a token; None for what has not the form of one."""
    found = _FORM.fullmatch(token)
    return found[1] if found else None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
