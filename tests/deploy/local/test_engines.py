"""Finding engines and their command lines."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from deploy.local.engines import clickhouse_command, find_clickhouse, find_redis, redis_command


@pytest.fixture
def only_our_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_chdb_serves_where_no_server_is_installed(only_our_path: Path, tmp_path: Path) -> None:
    command = clickhouse_command(tmp_path / "ch", 8123)
    assert find_clickhouse() is None
    assert command[:3] == [sys.executable, "-m", "deploy.local.clickhouse"]
    assert command[command.index("--port") + 1] == "8123"


def test_a_server_on_path_is_preferred(only_our_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multi = program(only_our_path, "clickhouse")
    assert find_clickhouse() == [multi, "server"]
    server = program(only_our_path, "clickhouse-server")
    monkeypatch.setenv("TALLY_CLICKHOUSE_PASSWORD", "s3cret")
    command = clickhouse_command(tmp_path / "ch", 18123)
    assert command[0] == server
    config = Path(command[1].removeprefix("--config-file="))
    assert "<http_port>18123</http_port>" in config.read_text()
    assert "s3cret" not in config.read_text()
    assert config.stat().st_mode & 0o077 == 0


def test_redis_on_path_is_preferred_to_the_bundled_one(only_our_path: Path) -> None:
    assert find_redis()[0].endswith("redis-server")
    mine = program(only_our_path, "redis-server")
    assert find_redis() == [mine]


def test_the_redis_command_runs_a_bounded_cache(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(redis_command(tmp_path / "redis", port), stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        deadline = time.monotonic() + 30
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert client.config_get("maxmemory") == {"maxmemory": str(128 << 20)}
        client.close()
    finally:
        process.terminate()
        process.wait(10)
