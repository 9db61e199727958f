"""Secrets of local servers: made once, kept in a file that only its owner reads.

Belongs here: that file. Does not belong here: what a secret opens.
"""

from __future__ import annotations

import secrets
from pathlib import Path


def kept_secret(file: Path) -> str:
    """The secret in this file, made at the first call."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="ascii")
    return file.read_text(encoding="ascii").strip()
