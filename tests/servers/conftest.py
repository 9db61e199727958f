"""Real servers for tests: Kafka, MongoDB's protocol, Redis, PostgreSQL, S3.

Run with `make servers-test`. How a test uses them (mark it with `pytest.mark.servers`):

- Shared by the session, on free ports, never killed by anyone: fixtures `kafka`, `mongodb`, `redis`, `postgresql` and
  `s3`, each a `deploy.servers.Server` that answers; `server.url` is what the product takes (`kafka://host:port`,
  `mongodb://host:port` without a database, `redis://…`, `s3://bucket`). Use topics, databases and prefixes of your own
  (`unique` makes a name). Under `make servers-test` they are those that the runner (`run.py`) started for all test
  processes, so that `server.pid`, `kill` and `pause` belong to the runner and are not for tests.
- Of the test's own, to be killed, paused and restarted: `start_server("kafka")` (also `mongodb`, `redis`,
  `postgresql`, `s3`) returns a started `Server`: `.kill()` is SIGKILL, `.start()` brings it back on the same port and
  data (MongoDB's stand-in keeps its data in memory in tests: a kill loses them, a pause does not), `.pause()` and
  `.resume()` are SIGSTOP and SIGCONT, `.stop()` an orderly end, `.wait_ready()` goes with `.start(wait=False)`. All
  end with the test; no server outlives a killed test run.
- `s3` and `start_server("s3")` need the AWS_* variables for clients: `s3_environment(server)` returns them; the fixture
  `s3_url` sets them for the test and gives an `s3://bucket/prefix` of its own.
- Without pytest: `from deploy.servers import kafka; with kafka.server(folder) as broker: …`.

A server that this machine lacks skips its tests with the command that installs it, unless TALLY_SERVERS_REQUIRED=1
(`make servers-test` sets it): then they fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fault_report import pytest_terminal_summary  # noqa: F401 - a hook: prints the table of tests/servers/faults
from whole_stack import Stack

from deploy.servers import Server, kafka, mongodb, postgresql, redis, s3
from deploy.servers.scratch import scratch_folder
from orchestration.stack import leftovers
from orchestration.stack.servers import missing

MODULES: dict[str, ModuleType] = {
    "kafka": kafka,
    "mongodb": mongodb,
    "redis": redis,
    "postgresql": postgresql,
    "s3": s3,
}
StartServer = Callable[..., Server]


def _require(name: str) -> None:
    problem = MODULES[name].missing()
    if problem and os.environ.get("TALLY_SERVERS_REQUIRED") == "1":
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


def _server(name: str, folder: Path, port: int = 0) -> Server:
    if name == "mongodb":
        return mongodb.server(folder, port, in_memory=True)
    made: Server = MODULES[name].server(folder, port)
    return made


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A scratch folder that other users may enter: PostgreSQL does not run as root."""
    with scratch_folder() as folder:
        yield folder


def _shared(name: str, folder: Path) -> Iterator[Server]:
    _require(name)
    port = int(os.environ.get(f"TALLY_SERVERS_{name.upper()}_PORT", "0"))
    if port:  # the runner's; same folder, so that passwords are found
        yield _server(name, Path(os.environ["TALLY_SERVERS_FOLDER"]) / name, port)
        return
    with _server(name, folder / name) as server:
        yield server


@pytest.fixture(scope="session", name="kafka")
def _kafka(server_folder: Path) -> Iterator[Server]:
    yield from _shared("kafka", server_folder)


@pytest.fixture(scope="session", name="mongodb")
def _mongodb(server_folder: Path) -> Iterator[Server]:
    yield from _shared("mongodb", server_folder)


@pytest.fixture(scope="session", name="redis")
def _redis(server_folder: Path) -> Iterator[Server]:
    yield from _shared("redis", server_folder)


@pytest.fixture(scope="session", name="postgresql")
def _postgresql(server_folder: Path) -> Iterator[Server]:
    yield from _shared("postgresql", server_folder)


@pytest.fixture(scope="session", name="s3")
def _s3(server_folder: Path) -> Iterator[Server]:
    yield from _shared("s3", server_folder)


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """(name) → a started server of the test's own."""
    with scratch_folder() as folder:
        started: list[Server] = []

        def start(name: str) -> Server:
            _require(name)
            started.append(_server(name, folder / f"{name}-{len(started)}"))
            return started[-1].start()

        yield start
        for server in started:
            server.kill()


@pytest.fixture
def s3_environment() -> Callable[[Server], dict[str, str]]:
    """(server) → the AWS_* variables with which clients reach it."""
    return lambda server: s3.client_environment(server.folder, server.port)


@pytest.fixture
def s3_url(
    request: pytest.FixtureRequest,
    s3_environment: Callable[[Server], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    unique: Callable[[], str],
) -> str:
    """`s3://bucket/prefix` that no other test uses, with the AWS_* variables set."""
    server: Server = request.getfixturevalue("s3")
    for name, value in s3_environment(server).items():
        monkeypatch.setenv(name, value)
    return f"{server.url}/{unique()}"


@pytest.fixture
def unique() -> Callable[[], str]:
    """Make names that no other test uses, fit for topics, groups, databases and prefixes."""
    return lambda: f"t{uuid.uuid4().hex[:14]}"


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A whole stack on servers, not up yet, in a folder and on ports of its own; ended with the test."""
    problems = missing()
    if problems and os.environ.get("TALLY_SERVERS_REQUIRED") != "1":
        pytest.skip("; ".join(problems))
    assert not problems, problems
    with scratch_folder() as folder:
        made = Stack(folder / "home")
        try:
            yield made
        finally:
            if made.home.exists():
                made.tally("down")
            leftovers.end(leftovers.members(made.home), grace=3.0)
