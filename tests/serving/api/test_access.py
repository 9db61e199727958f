"""Who may ask what: every role by every route, on the own workspace and on another's; keys that end; limits."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.access.keys import digest_of
from serving.access.roles import Role
from serving.access.store import AccessError, AccessStore
from serving.api.app import build_app
from serving.api.callers import REMEMBERED_SECONDS, Callers
from serving.api.config import ApiConfig

RANGE = "from=2026-03-02&to=2026-03-03"
EVERY, ANALYSTS, ADMINS = set(Role), {Role.ANALYST, Role.EDITOR, Role.ADMIN}, {Role.ADMIN}
ROUTES = {
    ("GET", "/v1/metrics"): EVERY,
    ("GET", "/v1/metrics/{id}"): EVERY,
    ("GET", "/v1/trends"): EVERY,
    ("GET", "/v1/metrics/{id}/explain"): ANALYSTS,
    ("POST", "/graphql"): EVERY,
    ("GET", "/v1/live"): EVERY,
    ("GET", "/v1/keys"): ADMINS,
    ("DELETE", "/v1/keys/{id}"): ADMINS,
}
EXAMPLES = {
    "/v1/metrics": "/v1/metrics",
    "/v1/metrics/{id}": f"/v1/metrics/events?{RANGE}",
    "/v1/trends": "/v1/trends",
    "/v1/metrics/{id}/explain": "/v1/metrics/events/explain?at=2026-03-02T03:00",
    "/v1/keys": "/v1/keys",
    "/graphql": "/graphql",
    "/v1/live": "/v1/live?metric=nothing",  # who is admitted is told that there is none; a stream would not end
}
BODIES = {"/graphql": '{"query": "{ metrics { id } }"}'}


def _spare_key(service: Any, workspace: str) -> str:
    api = service.http.app.state.api
    made = api.access.create_key(workspace, Role.VIEWER, datetime.now(UTC), name="spare")
    return str(made.key.id)


def test_every_route_is_in_the_matrix(service: Any) -> None:
    """A route that nobody thought of here is a hole: this fails until it has a line."""
    documented = {
        (method.upper(), path)
        for path, methods in service.http.app.openapi()["paths"].items()
        for method in methods
    }  # fmt: skip
    assert documented == set(ROUTES)


@pytest.mark.parametrize(("route", "roles"), ROUTES.items(), ids=[" ".join(route) for route in ROUTES])
def test_a_role_may_do_what_the_matrix_says_and_nothing_else(service: Any, route: tuple[str, str], roles: Any) -> None:
    method, path = route
    for role in Role:
        url = EXAMPLES.get(path) or f"/v1/keys/{_spare_key(service, 'acme')}"
        given = service.request(method, url, role, body=BODIES.get(path))
        if role in roles:
            assert given.status_code in {200, 204} or (given.status_code == 404 and path == "/v1/live"), given.text
        else:
            assert (given.status_code, given.json()["type"]) == (403, "urn:tally:problem:not-allowed"), role
        without = service.http.request(method, url, content=BODIES.get(path))
        assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, 'Bearer realm="tally"')


def test_another_workspace_is_nowhere_to_be_seen(service: Any) -> None:
    """The same refusal whether the other workspace exists or not, and no byte of it in any answer."""
    for role in Role:
        for path in ("events", "events/explain"):
            at = "at=2026-03-02T03:00&" if "explain" in path else f"{RANGE}&"
            refusals = [
                service.get(f"/v1/metrics/{path}?{at}where=workspace={name}", role)
                for name in ("globex", "nobody", "", "acme ", "ACME", "acme,globex")
            ]
            assert {each.status_code for each in refusals} == {403}
            assert len({each.content for each in refusals}) == 1
            assert b"globex" not in refusals[0].content
        grouped = service.get(f"/v1/metrics/events?{RANGE}&grain=total&by=workspace", role)
        assert {row["workspace"] for row in grouped.json()["rows"]} == {"acme"}
        own = service.get(f"/v1/metrics/events?{RANGE}&grain=total&where=workspace=acme", role)
        assert own.json()["rows"] == service.get(f"/v1/metrics/events?{RANGE}&grain=total", role).json()["rows"]
    mine, theirs = (service.get(f"/v1/metrics/events?{RANGE}", workspace=name) for name in ("acme", "globex"))
    assert mine.json()["rows"] != theirs.json()["rows"]


def test_an_explanation_counts_nothing_of_others(service: Any) -> None:
    """Seals and archive parts are of all workspaces together: their counts stay out."""
    given = service.get("/v1/metrics/events/explain?at=2026-03-02T03:00").json()
    assert given["proven"] is True
    assert given["seals"]
    assert all("events" not in seal for seal in given["seals"])
    assert all("rows" not in part for part in given["archive_parts"])
    nothing = service.get("/v1/metrics/events/explain?at=2026-03-01T03:00").json()
    assert (nothing["seals"], nothing["archive_parts"]) == ([], [])


def test_keys_of_another_workspace_are_not_found(service: Any) -> None:
    theirs = _spare_key(service, "globex")
    refused = service.request("DELETE", f"/v1/keys/{theirs}")
    unknown = service.request("DELETE", "/v1/keys/ffffffffffff")
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert refused.content.replace(theirs.encode(), b"") == unknown.content.replace(b"ffffffffffff", b"")
    listed = service.get("/v1/keys").json()
    assert theirs not in {key["id"] for key in listed}
    assert theirs in {key["id"] for key in service.get("/v1/keys", workspace="globex").json()}
    assert all(key.keys() == {"id", "name", "role", "state", "created_at", "expires_at"} for key in listed)


def test_a_revoked_key_is_refused(service: Any) -> None:
    api = service.http.app.state.api
    made = api.access.create_key("acme", Role.VIEWER, datetime.now(UTC))
    sent = {"Authorization": f"Bearer {made.token}"}
    assert service.http.get("/v1/metrics", headers=sent).status_code == 200
    assert service.request("DELETE", f"/v1/keys/{made.key.id}").status_code == 204
    assert service.http.get("/v1/metrics", headers=sent).status_code == 401
    assert service.request("DELETE", f"/v1/keys/{made.key.id}").status_code == 204


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer tally_000000000000_" + "A" * 43, "Bearer x" * 1000, "bearer \xff"],
)
def test_what_is_no_key_is_refused(service: Any, header: str) -> None:
    given = service.http.get("/v1/metrics", headers={"Authorization": header.encode("latin-1")})
    assert (given.status_code, given.json()["type"]) == (401, "urn:tally:problem:no-key")


@pytest.fixture
def access(tmp_path: Path) -> AccessStore:
    return AccessStore(f"sqlite:///{tmp_path / 'access.db'}")


NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_only_a_hash_of_a_key_is_kept(access: AccessStore, tmp_path: Path) -> None:
    made = access.create_key("acme", Role.ANALYST, NOW, name="ci")
    secret = made.token.rpartition("_")[2]
    assert access.find(made.token) == made.key
    assert access.find(made.token[:-1] + ("A" if made.token[-1] != "A" else "B")) is None
    access.close()
    dump = "\n".join(sqlite3.connect(tmp_path / "access.db").iterdump())
    assert secret not in dump
    assert digest_of(made.token) in dump


def test_a_rotated_key_is_good_for_the_overlap_and_is_replaced_once(access: AccessStore) -> None:
    old = access.create_key("acme", Role.EDITOR, NOW, expires_in=timedelta(days=90))
    later = NOW + timedelta(days=80)
    new = access.rotate_key(old.key.id, later, overlap=timedelta(days=1))
    assert new is not None
    assert (new.key.role, new.key.workspace) == (Role.EDITOR, "acme")
    assert new.key.expires_at == later + timedelta(days=90)
    kept = access.find(old.token)
    assert kept is not None
    assert kept.is_good(later + timedelta(hours=23))
    assert not kept.is_good(later + timedelta(days=1))
    assert access.rotate_key(old.key.id, later, overlap=timedelta(days=1)) is None
    expired = access.rotate_key(new.key.id, later + timedelta(days=91), overlap=timedelta(days=1))
    assert expired is None
    assert access.rotate_key(new.key.id, later, overlap=timedelta(days=1), workspace="globex") is None


def test_every_change_of_a_key_is_in_the_log(access: AccessStore) -> None:
    first = access.create_key("acme", Role.VIEWER, NOW)
    second = access.rotate_key(first.key.id, NOW, overlap=timedelta(hours=1), actor="someone")
    assert second is not None
    assert access.revoke_key(second.key.id, NOW)
    assert access.revoke_key(second.key.id, NOW)
    access.create_key("globex", Role.VIEWER, NOW)
    told = [(line["action"], line["key_id"], line["actor"]) for line in access.log("acme")]
    assert told == [
        ("workspace.created", "", "cli"),
        ("key.created", first.key.id, "cli"),
        ("key.rotated", first.key.id, "someone"),
        ("key.revoked", second.key.id, "cli"),
    ]


@pytest.mark.parametrize("workspace", ["", "a/b", "a\nb", "x" * 101, "'; drop table api_keys"])
def test_a_workspace_of_another_form_is_refused(access: AccessStore, workspace: str) -> None:
    with pytest.raises(AccessError, match="workspace"):
        access.create_key(workspace, Role.VIEWER, NOW)
    assert access.keys() == []


def test_a_database_of_a_newer_program_is_left_alone(access: AccessStore, tmp_path: Path) -> None:
    access.ensure_schema()
    with sqlite3.connect(tmp_path / "access.db") as database:
        database.execute("UPDATE access_schema SET version = 99")
    with pytest.raises(AccessError, match="version 99"):
        AccessStore(f"sqlite:///{tmp_path / 'access.db'}").keys()


def test_a_key_that_sends_too_much_is_told_when_to_come_back(service: Any, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'a.db'}"
    config = replace(service.config, access_url=database, requests_per_second=0.01)
    app = build_app(config)
    first, second = (
        app.state.api.access.create_key(name, Role.VIEWER, datetime.now(UTC)).token for name in ("acme", "globex")
    )
    with TestClient(app) as http:
        assert http.get("/v1/metrics", headers={"Authorization": f"Bearer {first}"}).status_code == 200
        refused = http.get("/v1/metrics", headers={"Authorization": f"Bearer {first}"})
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:tally:problem:rate-limited")
        assert 90 <= int(refused.headers["Retry-After"]) <= 100
        assert http.get("/v1/metrics", headers={"Authorization": f"Bearer {second}"}).status_code == 200


def test_stores_that_are_away_are_a_503_and_come_back(service: Any, tmp_path: Path) -> None:
    config = ApiConfig("http://127.0.0.1:1/tally", "redis://127.0.0.1:1/0", f"sqlite:///{tmp_path / 'a.db'}")
    app = build_app(config)
    token = app.state.api.access.create_key("acme", Role.ADMIN, datetime.now(UTC)).token
    with TestClient(app) as http:
        assert http.get("/healthz").status_code == 200
        for path in ("/readyz", f"/v1/metrics/events?{RANGE}", "/v1/trends"):
            given = http.get(path, headers={"Authorization": f"Bearer {token}"})
            assert (given.status_code, given.headers["Retry-After"]) == (503, "2"), given.text
            assert "127.0.0.1" not in given.text
        assert http.get("/v1/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert http.get("/v1/metrics/nothing", headers={"Authorization": f"Bearer {token}"}).status_code == 404
    assert service.get("/readyz").json() == {"status": "ready"}


def test_an_access_database_that_is_away_is_a_503(tmp_path: Path) -> None:
    app = build_app(ApiConfig("http://127.0.0.1:1/tally", "redis://127.0.0.1:1/0", f"sqlite:///{tmp_path}/no/a.db"))
    with TestClient(app) as http:
        given = http.get("/v1/metrics", headers={"Authorization": f"Bearer tally_000000000000_{'A' * 43}"})
    assert (given.status_code, given.headers["Retry-After"]) == (503, "2")
    assert str(tmp_path) not in given.text


def test_the_stated_time_of_a_revocation_holds() -> None:
    """docs/api.md promises it."""
    assert REMEMBERED_SECONDS <= 2
    assert Callers.__doc__
