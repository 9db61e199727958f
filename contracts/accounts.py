"""Own accounts and competitors: the versioned setting of who is compared with whom (`accounts.yaml`).

Belongs here: the model and loading it. Does not belong here: comparing (`analytics.social_benchmark`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.settings_file import read_setting

ACCOUNTS_FILE = Path(__file__).resolve().with_name("accounts.yaml")

_Name = Annotated[str, Field(min_length=1)]


class AccountsError(ValueError):
    """The setting is wrong; the message names the file and the key."""


class Account(BaseModel):
    """An account, in the id space of its network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: _Name
    account: _Name


class Accounts(BaseModel):
    """Whose accounts are whose; `version` is named by every answer that compares them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(ge=1)]
    own: tuple[Account, ...] = ()
    competitors: tuple[Account, ...] = ()

    @model_validator(mode="after")
    def _each_is_one_of_them(self) -> Accounts:
        both = sorted(f"{each.network}/{each.account}" for each in set(self.own) & set(self.competitors))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be both own and a competitor")
        return self


def load_accounts(path: Path = ACCOUNTS_FILE) -> Accounts:
    """Read and check a setting. Raises AccountsError naming file and key, FileNotFoundError where it is not there."""
    return read_setting(path, Accounts, AccountsError)
