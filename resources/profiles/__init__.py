"""Profiles of accounts and their snapshots over time, beside the raw events and in the same store.

Belongs here: choosing a store by URL. Does not belong here: how an implementation stores (`sqlite`, `mongodb`), where
profiles come from.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from resources.profiles.base import Profile, ProfileKey, Profiles, ProfileUpdate, Snapshot
from resources.raw_store.base import RawStoreError


def open_profiles(url: str) -> Profiles:
    """Return the profiles in the raw store at `url` (see `resources.raw_store.open_raw_store`); connects when used.

    Raises RawStoreError for a URL that names no raw store.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from resources.profiles.sqlite import SqliteProfiles

        return SqliteProfiles(url)
    if scheme in {"mongodb", "mongodb+srv"}:
        from resources.profiles.mongodb import MongoProfiles

        return MongoProfiles(url)
    raise RawStoreError(f"no profiles for URL scheme {scheme!r}: use sqlite:///path or mongodb://host/database")


__all__ = ["Profile", "ProfileKey", "ProfileUpdate", "Profiles", "Snapshot", "open_profiles"]
