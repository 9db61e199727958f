"""The API over real stores: one application per module, keys of two workspaces in every role."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from clickhouse_connect.driver.client import Client
from starlette.testclient import TestClient

from resources.clickhouse import open_clickhouse
from serving.access.roles import Role
from serving.api.app import build_app
from serving.api.config import ApiConfig

WORKSPACES = ("acme", "globex")
START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
RANGE = "from=2026-03-02&to=2026-03-03"


@dataclass
class Statements:
    """Counts what reaches ClickHouse through a client."""

    texts: list[str] = field(default_factory=list)

    def watch(self, client: Client) -> Client:
        for name in ("query", "query_arrow", "command"):
            setattr(client, name, self._counted(getattr(client, name)))
        return client

    def _counted(self, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.texts.append(str(arguments[0]) if arguments else str(options))
            return method(*arguments, **options)

        return call


@dataclass
class Service:
    """An application, its keys by (workspace, role), and the statements it sends."""

    http: TestClient
    keys: dict[tuple[str, str], str]
    statements: Statements
    config: ApiConfig

    def get(self, path: str, role: str = "admin", workspace: str = "acme", **headers: str) -> Any:
        return self.request("GET", path, role, workspace, **headers)

    def request(
        self, method: str, path: str, role: str = "admin", workspace: str = "acme", body: Any = None, **headers: str
    ) -> Any:
        sent = {"Authorization": f"Bearer {self.keys[workspace, role]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, path, headers=sent, content=body)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an application on a free port, in a thread; yields its base URL. Streams need a real connection."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture
def serve() -> Any:
    """The function `listening`."""
    return listening


@pytest.fixture(scope="module")
def service(
    store: Client, clickhouse_server: str, redis_server: Any, reference: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Two workspaces' events of one day, its first half sealed, behind the API without a rate limit."""
    events = reference.make_events(11, 3000, START, END)
    reference.insert_events(store, events)
    half = [START.replace(hour=hour) for hour in range(12)]
    reference.seal(store, half, ("alpha", "beta"), datetime(2026, 3, 4, tzinfo=UTC))
    url = f"{clickhouse_server}/{store.database}"
    folder: Path = tmp_path_factory.mktemp("access")
    config = ApiConfig(url, redis_server.url, f"sqlite:///{folder / uuid.uuid4().hex}.db", requests_per_second=0)
    statements = Statements()
    app = build_app(config, lambda url: statements.watch(open_clickhouse(url)))
    now = datetime.now(UTC)
    keys = {
        (workspace, role.value): app.state.api.access.create_key(workspace, role, now).token
        for workspace in WORKSPACES
        for role in Role
    }
    with TestClient(app, raise_server_exceptions=False) as http:
        yield Service(http, keys, statements, config)
