"""The profiles' interface: what is known of an account now, and what was measured of it when.

Belongs here: the types and promises of `sqlite` and `mongodb`, and the checks both make. Does not belong here: where
profiles come from, metrics over snapshots.

A profile is one document per account. Each of its fields keeps the value that was seen last, whatever order updates
arrive in and however many writers there are: no update is lost, and repeating one changes nothing. A snapshot is
what was measured at one instant; the first one of an instant stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import orjson

from resources.raw_store.base import RawStoreError

Value = str | int | float | bool | None
PROFILE_VERSION = 1
"""Layout of a stored profile or snapshot, kept in each as `schema_version`: versions can stand side by side."""

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LARGEST = 2**63


class ProfileKey(NamedTuple):
    """Identity of an account."""

    workspace: str
    network: str
    account: str


@dataclass(frozen=True, slots=True)
class ProfileUpdate:
    """What a source said of an account at `seen_at` (aware). Fields that are not named keep what they have."""

    key: ProfileKey
    seen_at: datetime
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Profile:
    """`seen_at` of each field is when its value was seen; all times are aware, UTC, to the millisecond."""

    key: ProfileKey
    fields: Mapping[str, Value]
    seen_at: Mapping[str, datetime]
    first_seen: datetime
    last_seen: datetime
    schema_version: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was measured of an account at one instant: followers, posts, …"""

    key: ProfileKey
    taken_at: datetime
    values: Mapping[str, Value]


class Profiles(Protocol):
    """Chosen by URL with `resources.profiles.open_profiles`. Thread-safe; several processes may share a store.

    Every method raises RawStoreUnavailableError when the store cannot be reached and RawStoreError when it refuses.
    """

    url: str

    def ensure_schema(self) -> None:
        """Make what is missing. Needed once before anything else."""
        ...

    def update(self, updates: Sequence[ProfileUpdate]) -> None:
        """Merge the updates into their profiles, making those that are missing. Durable on return.

        A field takes the value with the latest `seen_at`; of two seen in the same millisecond the greater by its JSON
        text, so that every order of arrival ends the same.
        """
        ...

    def get(self, key: ProfileKey) -> Profile | None: ...

    def count(self, workspace: str) -> int:
        """How many profiles a workspace has."""
        ...

    def add_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        """Add what is new (by account and millisecond) and return how many were. Durable on return."""
        ...

    def snapshots(self, key: ProfileKey, start: datetime, end: datetime) -> list[Snapshot]:
        """Snapshots of an account with `start <= taken_at < end`, in order of time."""
        ...

    def expire_snapshots(self, before: datetime) -> int:
        """Delete snapshots taken before that time and return how many; profiles stay. Repeating it deletes nothing."""
        ...

    def close(self) -> None: ...


class NewestField(NamedTuple):
    """A field's value as it is stored: JSON text, so that both stores compare and keep it alike."""

    seen_ms: int
    text: str


def newest_fields(updates: Iterable[ProfileUpdate]) -> dict[ProfileKey, dict[str, NewestField]]:
    """Merge a batch first: what is left is one value per profile and field. Raises RawStoreError for bad ones."""
    merged: dict[ProfileKey, dict[str, NewestField]] = {}
    for update in updates:
        check_key(update.key)
        fields = merged.setdefault(update.key, {})
        seen_ms = milliseconds(update.seen_at)
        for name, value in update.fields.items():
            found = NewestField(seen_ms, value_text(update.key, name, value))
            fields[name] = max(found, fields.get(name, found))
    return merged


def seen_span(updates: Iterable[ProfileUpdate]) -> dict[ProfileKey, tuple[int, int]]:
    """Per profile the earliest and latest `seen_at` of a batch, in ms since the epoch."""
    spans: dict[ProfileKey, tuple[int, int]] = {}
    for update in updates:
        at = milliseconds(update.seen_at)
        first, last = spans.get(update.key, (at, at))
        spans[update.key] = (min(first, at), max(last, at))
    return spans


def value_text(key: ProfileKey, name: str, value: Value) -> str:
    """JSON of a field's value. Raises RawStoreError naming the account and field when it cannot be kept."""
    place = f"profile {'/'.join(key)}: field {name[:80]!r}"
    if not _FIELD.fullmatch(name):
        raise RawStoreError(f"{place} is not a name of small letters, digits and underscores")
    if not (value is None or isinstance(value, str | int | float)):
        raise RawStoreError(f"{place} is {type(value).__name__}, not text, a number, a truth value or null")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise RawStoreError(f"{place} is {value}, beyond 64 bits")
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise RawStoreError(f"{place} is not JSON: {error}") from error


def values_text(snapshot: Snapshot) -> str:
    """JSON of a snapshot's values. Raises RawStoreError as `value_text` does."""
    check_key(snapshot.key)
    for name, value in snapshot.values.items():
        value_text(snapshot.key, name, value)
    return orjson.dumps(dict(snapshot.values), option=orjson.OPT_SORT_KEYS).decode()


def check_key(key: ProfileKey) -> None:
    """Raise RawStoreError for a part that is empty, or a workspace or network with a slash (ids are made of them)."""
    if not all(key) or "/" in key.workspace or "/" in key.network:
        raise RawStoreError(f"profile {key!r}: all parts must be there, workspace and network without a slash")


def milliseconds(moment: datetime) -> int:
    """Ms since the epoch. Raises RawStoreError for a time without a zone."""
    if moment.tzinfo is None:
        raise RawStoreError(f"the time {moment.isoformat()} has no zone")
    return round(moment.timestamp() * 1000)


def moment_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
