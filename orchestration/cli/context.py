"""What every command needs first: the settings.

Belongs here: loading them. Does not belong here: opening stores.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.settings import Settings


def load_settings() -> Settings:
    """Read the settings; a wrong one raises pydantic's ValidationError, which `errors.explain` names.

    Libraries' warnings are silenced: what went wrong is said once, by the error. Processes set up their own logging.
    """
    import logging

    from orchestration.settings import Settings as Loaded

    if os.environ.get("TALLY_DEBUG") != "1":
        logging.getLogger().addHandler(logging.NullHandler())
    settings = Loaded()
    provide_environment(settings)
    return settings


def provide_environment(settings: Settings) -> None:
    """Set what libraries read from the environment: the home's Dagster, and keys of the stack's own servers."""
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)  # runs that a command starts belong to this home's Dagster
    if settings.engines == "servers":
        from orchestration.stack.servers import client_environment

        os.environ.update(client_environment(settings))
