"""What both stores of profiles promise: one profile per account, no update lost, snapshots once and in order.

MongoDB's protocol is added by `TALLY_TEST_MONGODB_URL`, as for the raw store.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.profiles import ProfileKey, Profiles, ProfileUpdate, Snapshot, open_profiles
from resources.raw_store import RawStoreError, RawStoreUnavailableError

ADA = ProfileKey("acme", "app", "ada/with a slash")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _kinds() -> list[Any]:
    mongodb = pytest.param("mongodb", marks=pytest.mark.servers)
    return ["sqlite", *([mongodb] if os.environ.get("TALLY_TEST_MONGODB_URL") else [])]


@pytest.fixture(params=_kinds())
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/raw_store.db"
    return f"{os.environ['TALLY_TEST_MONGODB_URL'].rstrip('/')}/tally_test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def profiles(url: str) -> Iterator[Profiles]:
    opened = open_profiles(url)
    opened.ensure_schema()
    yield opened
    opened.close()


def at(ms: int) -> datetime:
    return NOON + timedelta(milliseconds=ms)


def test_a_field_keeps_what_was_seen_last_in_any_order_of_arrival(profiles: Profiles) -> None:
    profiles.update([ProfileUpdate(ADA, at(5), {"name": "Ada", "followers": 10})])
    profiles.update([ProfileUpdate(ADA, at(9), {"followers": 12, "verified": True})])
    profiles.update([ProfileUpdate(ADA, at(7), {"followers": 11, "bio": None, "score": 0.5})])
    found = profiles.get(ADA)
    assert found is not None
    assert found.fields == {"name": "Ada", "followers": 12, "verified": True, "bio": None, "score": 0.5}
    assert (found.seen_at["followers"], found.seen_at["bio"]) == (at(9), at(7))
    assert (found.first_seen, found.last_seen, found.schema_version) == (at(5), at(9), 1)
    assert profiles.get(ProfileKey("acme", "app", "nobody")) is None
    assert (profiles.count("acme"), profiles.count("globex")) == (1, 0)


@pytest.mark.timeout(400)
def test_fifty_writers_of_one_profile_make_one_profile_and_lose_nothing(profiles: Profiles) -> None:
    """A06: 50 threads, 1,000 updates each, of fields of their own and of one that all write."""
    threads = [threading.Thread(target=_write, args=(profiles, number)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = profiles.get(ADA)
    assert found is not None
    assert profiles.count("acme") == 1
    assert found.fields == {"shared": 49_999, **{f"own_{n}": 999 * 50 + n for n in range(50)}}
    assert (found.first_seen, found.last_seen) == (at(0), at(49_999))


def _write(profiles: Profiles, number: int) -> None:
    updates = [
        ProfileUpdate(ADA, at(n * 50 + number), {"shared": n * 50 + number, f"own_{number}": n * 50 + number})
        for n in range(1_000)
    ]
    random.Random(number).shuffle(updates)
    for start in range(0, len(updates), 100):
        while True:
            try:
                profiles.update(updates[start : start + 100])
                break
            except RawStoreUnavailableError:  # many writers at one file: repeating an update is harmless
                continue


def test_a_tie_ends_the_same_in_every_order(profiles: Profiles) -> None:
    values = ["a", "b", 7, None, True]
    for number, order in enumerate((values, values[::-1])):
        key = ProfileKey("acme", "app", f"tie-{number}")
        for value in order:
            profiles.update([ProfileUpdate(key, at(0), {"x": value})])
        found = profiles.get(key)
        assert found is not None
        assert found.fields == {"x": True}  # the greatest JSON text


def test_snapshots_stand_once_and_come_in_order_of_time(profiles: Profiles) -> None:
    taken = [Snapshot(ADA, at(n * 1000), {"followers": n}) for n in (2, 0, 1)]
    assert profiles.add_snapshots(taken) == 3
    assert profiles.add_snapshots([*taken, Snapshot(ADA, at(3000), {"followers": 3})]) == 1
    assert profiles.add_snapshots([Snapshot(ADA, at(0), {"followers": 99})]) == 0
    assert [s.values["followers"] for s in profiles.snapshots(ADA, at(0), at(3000))] == [0, 1, 2]
    assert profiles.expire_snapshots(at(2000)) == 2
    assert profiles.expire_snapshots(at(2000)) == 0
    assert [s.taken_at for s in profiles.snapshots(ADA, at(0), at(9000))] == [at(2000), at(3000)]


@pytest.mark.parametrize(
    ("key", "fields", "problem"),
    [
        (ADA, {"Not.a-name": 1}, "not a name"),
        (ADA, {"x": 2**63}, "beyond 64 bits"),
        (ADA, {"x": ["list"]}, "is list, not text"),
        (ProfileKey("", "app", "ada"), {"x": 1}, "all parts must be there"),
        (ProfileKey("a/b", "app", "ada"), {"x": 1}, "without a slash"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name_before_anything_is_written(
    profiles: Profiles, key: ProfileKey, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RawStoreError, match=problem):
        profiles.update([ProfileUpdate(ADA, at(0), {"ok": 1}), ProfileUpdate(key, at(0), fields)])
    assert profiles.get(ADA) is None
    with pytest.raises(RawStoreError, match="has no zone"):
        profiles.update([ProfileUpdate(ADA, datetime(2026, 1, 1), {"ok": 1})])  # noqa: DTZ001 - that is the test
