"""The short way of a request seen before says exactly what the long way says, and refuses whom it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.access.roles import Role
from serving.api.app import build_app

PATHS = (
    "/v1/metrics/events?from=2026-03-02&to=2026-03-03&by=type",
    "/v1/metrics/conversation_rate?from=2026-03-02&to=2026-03-04&tz=Asia/Kolkata&grain=day",
    "/v1/metrics/events?from=2026-03-02&to=2026-03-03&by=object&limit=3",
    "/v1/metrics/events?grain=day",
)


@pytest.fixture
def apps(service: Any) -> Iterator[tuple[TestClient, TestClient]]:
    """Two applications over one store: the second one never takes the short way."""
    clients = []
    for _ in range(2):
        app = build_app(replace(service.config, live_staleness=600))
        clients.append(TestClient(app))
    clients[1].app.state.api.hot.remember = lambda *_: None
    with clients[0], clients[1]:
        yield clients[0], clients[1]


def sent(service: Any, workspace: str = "acme", **headers: str) -> dict[str, str]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Authorization": f"Bearer {service.keys[workspace, 'viewer']}", **given}


@pytest.mark.parametrize("path", PATHS)
def test_both_ways_give_the_same_bytes_and_headers(
    service: Any, apps: tuple[TestClient, TestClient], path: str
) -> None:
    quick, slow = apps
    for workspace in ("acme", "globex"):
        for _ in range(3):
            given, expected = (client.get(path, headers=sent(service, workspace)) for client in apps)
            assert (given.status_code, given.content, given.headers) == (200, expected.content, expected.headers)
        known = {"If_None_Match": expected.headers["ETag"]}
        assert quick.get(path, headers=sent(service, workspace, **known)).status_code == 304
        seen = {"Tally_Min_Version": expected.headers["Tally-Version"]}
        assert quick.get(path, headers=sent(service, workspace, **seen)).content == expected.content
    for bad in ("x", "-1", "9" * 40):
        answers = [client.get(path, headers=sent(service, Tally_Min_Version=bad)) for client in (quick, slow)]
        assert answers[0].status_code == answers[1].status_code


def test_a_revoked_key_does_not_come_through(service: Any, apps: tuple[TestClient, TestClient]) -> None:
    quick, _ = apps
    api = quick.app.state.api
    made = api.access.create_key("acme", Role.VIEWER, datetime.now(UTC))
    headers = {"Authorization": f"Bearer {made.token}"}
    assert [quick.get(PATHS[0], headers=headers).status_code for _ in range(3)] == [200] * 3
    assert quick.delete(f"/v1/keys/{made.key.id}", headers=service_admin(service)).status_code == 204
    assert quick.get(PATHS[0], headers=headers).status_code == 401
    for header in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": f"Basic {made.token}"}):
        assert quick.get(PATHS[0], headers=header).status_code == 401


def test_requests_of_both_ways_count_against_one_limit(service: Any) -> None:
    app = build_app(replace(service.config, live_staleness=600, requests_per_second=1.0))
    with TestClient(app) as client:
        statuses = [client.get(PATHS[0], headers=sent(service)).status_code for _ in range(12)]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses[5:]


def service_admin(service: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.keys['acme', 'admin']}"}
