"""The processes of the local stack, in the order they start.

Belongs here: each process's command, port, health check and limits. Does not belong here: starting them (`lifecycle`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from orchestration.runs.protocol import SOCKET_VARIABLE
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.stack.health import (
    DaemonsReady,
    GrpcReady,
    HealthCheck,
    HttpReady,
    LocationsReady,
    RedisReady,
    RunHostReady,
    WorkerReady,
)
from orchestration.stack.paths import StackPaths
from orchestration.stack.ports import PortUse

LOCAL = "127.0.0.1"
DAGSTER_FILES = PROJECT_ROOT / "deploy" / "dagster"

MEMORY_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
"""glibc keeps one arena per thread and never gives it back: two are enough and save about a third of the memory."""

IN_BURSTS = {
    **MEMORY_ENVIRONMENT,
    "POLARS_MAX_THREADS": "1",
    # What polars (jemalloc) and Arrow free goes back at once, not after ten seconds.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""For processes that work now and then."""


class Phase(IntEnum):
    """Processes of a phase start together, after the phase before is ready; they stop in the reverse order."""

    ENGINES = 0
    STREAMING = 1
    DAGSTER = 2


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process. `stop_group` sends TERM to its children too; after `stop_seconds` all of them are killed."""

    name: str
    phase: Phase
    command: tuple[str, ...]
    ready: HealthCheck
    port: PortUse | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 4
    stop_group: bool = False
    start_seconds: float = 90.0


def plan(settings: Settings) -> list[ProcessSpec]:
    """Return the processes of a stack with these settings. Stores elsewhere (another URL) are not started here."""
    return [*_engines(settings), *_streaming(settings), *_dagster(settings), _auditor()]


def _engines(settings: Settings) -> list[ProcessSpec]:
    from deploy.local.engines import clickhouse_command, redis_command
    from orchestration.stack.servers import server_specs

    specs = server_specs(settings)
    if settings.clickhouse_is_local:
        specs.append(
            ProcessSpec(
                name="clickhouse",
                phase=Phase.ENGINES,
                command=tuple(clickhouse_command(settings.home / "clickhouse", settings.clickhouse_port)),
                ready=HttpReady(LOCAL, settings.clickhouse_port, "/ping"),
                port=PortUse("ClickHouse", settings.clickhouse_port, "TALLY_CLICKHOUSE_PORT"),
                environment=MEMORY_ENVIRONMENT,
            )
        )
    if settings.redis_is_local:
        specs.append(
            ProcessSpec(
                name="redis",
                phase=Phase.ENGINES,
                command=tuple(redis_command(settings.home / "redis", settings.redis_port)),
                ready=RedisReady(LOCAL, settings.redis_port),
                port=PortUse("Redis", settings.redis_port, "TALLY_REDIS_PORT"),
            )
        )
    return specs


def _streaming(settings: Settings) -> list[ProcessSpec]:
    tally = (sys.executable, "-m", "orchestration.cli")
    environment = {**MEMORY_ENVIRONMENT, "POLARS_MAX_THREADS": "2"}
    collector = ProcessSpec(
        name="collector",
        phase=Phase.STREAMING,
        command=(*tally, "process", "collector"),
        ready=HttpReady(_reachable(settings.collector_host), settings.collector_port, "/readyz"),
        port=PortUse("the collector", settings.collector_port, "TALLY_COLLECTOR_PORT", settings.collector_host),
        environment=environment,
    )
    workers = [
        ProcessSpec(
            name=f"worker-{group}",
            phase=Phase.STREAMING,
            command=(*tally, "process", "worker", "--group", group),
            ready=WorkerReady(StackPaths(settings.home).worker_stats(group)),
            # Static membership: started again after a kill, it has its partitions at once, not after a session's end.
            environment={**environment, "TALLY_WORKER_ID": f"{group}-1"},
        )
        for group in ("raw", "live")
    ]
    publisher = ProcessSpec(
        name="publisher",
        phase=Phase.STREAMING,
        command=(*tally, "process", "publisher"),
        ready=WorkerReady(StackPaths(settings.home).publisher_stats),
        environment={**environment, "POLARS_MAX_THREADS": "1"},
    )
    api = ProcessSpec(
        name="api",
        phase=Phase.STREAMING,
        command=(*tally, "process", "api"),
        ready=HttpReady(_reachable(settings.api_host), settings.api_port, "/readyz"),
        port=PortUse("the API", settings.api_port, "TALLY_API_PORT", settings.api_host),
        environment=IN_BURSTS,
    )
    return [collector, *workers, publisher, api]


@dataclass(frozen=True, slots=True)
class _Optional:
    """Nobody waits for this process: the platform is ready without it."""

    def problem(self) -> str | None:
        return None


def _auditor() -> ProcessSpec:
    return ProcessSpec(
        name="auditor",
        phase=Phase.DAGSTER,
        command=(sys.executable, "-m", "orchestration.cli", "process", "auditor"),
        ready=_Optional(),
        environment=IN_BURSTS,
    )


def _dagster(settings: Settings) -> list[ProcessSpec]:
    run_host = StackPaths(settings.home).run_host
    environment = {
        **MEMORY_ENVIRONMENT,
        "POLARS_MAX_THREADS": "2",
        SOCKET_VARIABLE: str(run_host),
        "TALLY_LONG_POLL_SECONDS": "20",
        "TALLY_AUTOMATION": "on",
        # The long-poll sensor holds its tick for 20 s; the default of 60 s would leave little for a busy machine.
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "120",
        "DAGSTER_GRPC_TIMEOUT_SECONDS": "120",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # Dagster repeats what is beta or in preview in every run's log; the tests say so once, and louder.
        "PYTHONWARNINGS": "ignore::Warning:dagster",
    }
    python_bin = Path(sys.executable).parent
    workspace = str(DAGSTER_FILES / "workspace.yaml")

    def server(name: str, module: str, port: int, setting: str) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            phase=Phase.DAGSTER,
            command=(str(python_bin / "dagster"), "api", "grpc", "-m", module, "-h", LOCAL, "-p", str(port)),
            ready=GrpcReady(LOCAL, port),
            port=PortUse(f"Dagster's code server {name}", port, setting),
            environment=environment,
            stop_group=True,
        )

    return [
        ProcessSpec(
            name="dagster-runs",
            phase=Phase.DAGSTER,
            command=(sys.executable, "-m", "orchestration.runs.host", "--socket", str(run_host)),
            ready=RunHostReady(run_host),
            environment=environment,
            stop_group=True,
        ),
        server("code-realtime", "orchestration.realtime", settings.realtime_grpc_port, "TALLY_REALTIME_GRPC_PORT"),
        server("code-batch", "orchestration.batch", settings.batch_grpc_port, "TALLY_BATCH_GRPC_PORT"),
        ProcessSpec(
            name="dagster-webserver",
            phase=Phase.DAGSTER,
            command=(
                *(str(python_bin / "dagster-webserver"), "-w", workspace),
                *("-h", LOCAL, "-p", str(settings.dagster_port)),
            ),
            ready=LocationsReady(LOCAL, settings.dagster_port),
            port=PortUse("Dagster's UI", settings.dagster_port, "TALLY_DAGSTER_PORT"),
            environment=environment,
            stop_group=True,
        ),
        ProcessSpec(
            name="dagster-daemon",
            phase=Phase.DAGSTER,
            command=(sys.executable, "-m", "orchestration.stack.daemon", "run", "-w", workspace),
            ready=DaemonsReady(LOCAL, settings.dagster_port),
            environment=environment,
            stop_group=True,
        ),
    ]


def _reachable(host: str) -> str:
    return LOCAL if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - recognised here, not bound
