"""What every command needs first: the settings.

Belongs here: loading them. Does not belong here: opening stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.settings import Settings


def load_settings() -> Settings:
    """Read the settings; a wrong one raises pydantic's ValidationError, which `errors.explain` names."""
    from orchestration.settings import Settings as Loaded

    return Loaded()
