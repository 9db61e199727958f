"""Live updates over a real connection: an event when the data move, one computation for all, resuming, letting go."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from resources.clickhouse import open_clickhouse
from serving.access.roles import Role
from serving.api import routes_live
from serving.api.app import build_app

START = datetime(2026, 3, 2, tzinfo=UTC)
QUESTION = "from=2026-03-02&to=2026-03-04&grain=day"
LIVE = f"/v1/live?metric=events&metric=posts&{QUESTION}"


class Event(NamedTuple):
    id: str
    data: dict[str, Any]


class Reader:
    """Events of one connection, as they come."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        self._lines = response.iter_lines()

    def next(self) -> Event:
        found: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line and name:
                found[name] = value
            elif "data" in found:
                return Event(found["id"], json.loads(found["data"]))
        raise AssertionError("the stream ended")

    def until(self, condition: Callable[[Event], bool]) -> Event:
        deadline = time.monotonic() + 60
        while not condition(event := self.next()):
            assert time.monotonic() < deadline
        return event


@pytest.fixture
def app(service: Any) -> Any:
    statements: Any = type(service.statements)()
    made = build_app(service.config, lambda url: statements.watch(open_clickhouse(url)))
    made.state.statements = statements
    return made


@pytest.fixture
def base(app: Any, serve: Any) -> Iterator[str]:
    with serve(app) as url:
        yield url


@pytest.fixture
def arrive(store: Client, reference: Any) -> Callable[[], None]:
    """One more event of acme, in an hour that is not sealed: it counts at once."""
    seeds = iter(range(1000, 2000))

    def send() -> None:
        event = reference.make_events(
            next(seeds) + time.time_ns() % 10**9, 1, START + timedelta(hours=13), START + timedelta(hours=23)
        )
        event = event.with_columns(
            workspace=pl.lit("acme"), received_at=pl.lit(datetime.now(UTC)).cast(event.schema["received_at"])
        )
        reference.insert_events(store, event)

    return send


def key(service: Any, **headers: str) -> dict[str, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Authorization": f"Bearer {service.keys['acme', 'viewer']}", **sent}


def count(event: Event, metric: str = "events") -> int:
    return int(sum(row["value"] for row in event.data[metric]["rows"]))


def test_an_event_is_what_rest_answers_and_another_comes_when_data_do(
    service: Any, base: str, arrive: Callable[[], None]
) -> None:
    with httpx.stream("GET", base + LIVE, headers=key(service), timeout=60) as response:
        reader = Reader(response)
        first = reader.next()
        for metric in ("events", "posts"):
            rest = httpx.get(f"{base}/v1/metrics/{metric}?{QUESTION}", headers=key(service)).json()
            assert first.data[metric] == rest
        arrive()
        second = reader.until(lambda event: count(event) == count(first) + 1)
        assert int(second.id.partition("-")[0]) > int(first.id.partition("-")[0])


def test_resuming_misses_nothing_and_repeats_nothing(service: Any, base: str, arrive: Callable[[], None]) -> None:
    with httpx.stream("GET", base + LIVE, headers=key(service), timeout=60) as response:
        seen = Reader(response).next()
    arrive()
    with httpx.stream("GET", base + LIVE, headers=key(service, Last_Event_ID=seen.id), timeout=60) as response:
        reader = Reader(response)
        missed = reader.until(lambda event: count(event) == count(seen) + 1)
    with httpx.stream("GET", base + LIVE, headers=key(service, Last_Event_ID=missed.id), timeout=60) as response:
        reader = Reader(response)
        arrive()
        assert reader.next().id != missed.id


def test_many_clients_of_one_question_are_one_question_to_the_store(
    service: Any, app: Any, base: str, arrive: Callable[[], None]
) -> None:
    clients = 20
    path = f"/v1/live?metric=reactions&{QUESTION}"
    begun, ended = threading.Barrier(clients + 1), threading.Barrier(clients + 1)
    ids: list[list[str]] = [[] for _ in range(clients)]

    def follow(mine: list[str]) -> None:
        with httpx.stream("GET", base + path, headers=key(service), timeout=60) as response:
            reader = Reader(response)
            mine.append(reader.next().id)
            begun.wait(60)
            version = int(mine[0].partition("-")[0])
            mine.append(reader.until(lambda event: int(event.id.partition("-")[0]) > version).id)
            ended.wait(60)

    threads = [threading.Thread(target=follow, args=(mine,), daemon=True) for mine in ids]
    for thread in threads:
        thread.start()
    begun.wait(60)
    values = [text for text in app.state.statements.texts if "reaction" in text]
    assert 1 <= len(values) <= 2
    arrive()
    ended.wait(60)
    for thread in threads:
        thread.join(60)
    assert len({tuple(mine) for mine in ids}) == 1
    assert len([text for text in app.state.statements.texts if "reaction" in text]) <= len(values) + 2
    _until(lambda: app.state.api.telemetry.live_clients == 0)


def test_a_range_left_open_goes_on(service: Any, base: str) -> None:
    with httpx.stream(
        "GET", f"{base}/v1/live?metric=events&grain=minute", headers=key(service), timeout=60
    ) as response:
        event = Reader(response).next()
        assert datetime.fromisoformat(event.data["events"]["end"]) > datetime.now(UTC) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/live", 400),
        ("/v1/live?metric=nothing", 404),
        ("/v1/live?metric=events&grain=fortnight", 400),
        ("/v1/live?metric=events&where=workspace=globex", 403),
        ("/v1/live?" + "&".join(f"metric=m{n}" for n in range(30)), 400),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_at_once(service: Any, base: str, path: str, status: int) -> None:
    given = httpx.get(base + path, headers=key(service), timeout=60)
    assert (given.status_code, given.headers["Content-Type"]) == (status, "application/problem+json")


def test_a_client_that_takes_nothing_is_let_go(
    service: Any, app: Any, base: str, arrive: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_live, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(routes_live, "HEARTBEAT_SECONDS", 0.1)
    place = urlsplit(base)
    path = "/v1/live?metric=events&from=2026-03-02&to=2026-03-08&grain=minute"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((place.hostname, place.port))
        headers = "".join(f"{name}: {value}\r\n" for name, value in key(service).items())
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: api\r\n{headers}\r\n".encode())
        _until(lambda: app.state.api.telemetry.live_clients == 1)
        deadline = time.monotonic() + 90
        while app.state.api.telemetry.live_clients:
            arrive()  # one event of a megabyte more than it takes
            assert time.monotonic() < deadline
            time.sleep(0.3)


def test_a_key_that_ends_ends_its_stream(service: Any, app: Any, base: str, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(routes_live, "HEARTBEAT_SECONDS", 0.1)
    made = app.state.api.access.create_key("acme", Role.VIEWER, datetime.now(UTC))
    sent = {"Authorization": f"Bearer {made.token}"}
    with httpx.stream("GET", base + LIVE, headers=sent, timeout=60) as response:
        reader = Reader(response)
        reader.next()
        app.state.api.access.revoke_key(made.key.id, datetime.now(UTC))
        with pytest.raises(AssertionError, match="the stream ended"):
            reader.until(lambda _event: False)


def test_with_a_store_that_is_away_there_is_no_stream(service: Any, serve: Any, tmp_path: Any) -> None:

    config = replace(service.config, clickhouse_url="http://127.0.0.1:1/tally", access_url=f"sqlite:///{tmp_path}/a.db")
    app = build_app(config)
    token = app.state.api.access.create_key("acme", Role.VIEWER, datetime.now(UTC)).token
    with serve(app) as base:
        given = httpx.get(base + LIVE, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert (given.status_code, given.headers["Retry-After"]) == (503, "2")
        assert app.state.api.telemetry.live_clients == 0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
