"""The checks of sessions are green over what sealing makes, and red over what it never would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from session_people import FIRST_DAY, people

from assets.partitions import scope
from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from orchestration.checks.sessions import live_against_sealed, session_account
from streaming.publisher.sessions import LiveSessions

DAYS = scope([FIRST_DAY + timedelta(days=number) for number in range(4)], ["app", "sim"])


@pytest.fixture
def sealed(platform: Any, clickhouse_url: str) -> Any:
    """Three days of people, sealed; live sessions are up to date."""
    platform.send(people(41, count=150), at=FIRST_DAY + timedelta(days=4))
    LiveSessions(clickhouse_url).run(FIRST_DAY)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    seal_range(stores, SealRequest(FIRST_DAY, FIRST_DAY + timedelta(days=4)), "test", lambda _text: None)
    return platform.clickhouse


def verdicts(found: pl.DataFrame) -> set[str]:
    return set(found["verdict"])


def test_sealed_days_pass_both(sealed: Any) -> None:
    account = session_account(sealed, DAYS)
    assert account.height >= 6
    assert verdicts(account) == {"equal"}
    assert (account["identified"] == account["in_sessions"]).all()
    assert verdicts(live_against_sealed(sealed, DAYS)) == {"equal"}


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE sessions_builds DELETE WHERE actor = 'ann' SETTINGS mutations_sync = 1",
        "ALTER TABLE sessions_builds UPDATE events = events + 1 WHERE actor = 'bot' SETTINGS mutations_sync = 1",
        "INSERT INTO sessions_builds SELECT * FROM sessions_builds WHERE actor = 'bob'",
    ],
)
def test_a_session_lost_changed_or_doubled_is_found_by_both(sealed: Any, damage: str) -> None:
    sealed.command(damage)
    assert "different" in verdicts(session_account(sealed, DAYS))
    assert "different" in verdicts(live_against_sealed(sealed, DAYS))
