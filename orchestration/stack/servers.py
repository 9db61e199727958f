"""A stack on real servers in place of embedded engines: Kafka, MongoDB's protocol, S3, PostgreSQL.

Belongs here: choosing it for a home, its processes, what clients of its servers need. Does not belong here: the servers
(`deploy.servers`), the processes of every stack (`plan`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.servers import ServerError, java, kafka, mongodb, postgresql, s3
from deploy.servers.ready import kafka_ready, mongodb_ready, postgresql_ready, s3_ready
from orchestration.settings import PROJECT_ROOT, SETTINGS_FILE, Engines, Settings
from orchestration.stack.errors import StackError
from orchestration.stack.home import moved_ports, remember
from orchestration.stack.ports import PortUse

if TYPE_CHECKING:
    from orchestration.stack.plan import ProcessSpec

_PORTS = ("kafka_port", "kafka_controller_port", "mongodb_port", "s3_port", "postgresql_port")
_OTHER_PORTS = (
    "clickhouse_port",
    "redis_port",
    "collector_port",
    "api_port",
    "dagster_port",
    "realtime_grpc_port",
    "batch_grpc_port",
)
_DATA_OF_A_STACK = ("event_log.db", "raw_store.db", "clickhouse", "kafka", "dagster")


def choose_engines(settings: Settings, engines: Engines | None, say: java.Say) -> Settings:
    """Return the settings of a stack on these engines, fetching what is missing; the home remembers the choice.

    Ports that something else uses are moved when the choice is made, and remembered too. None leaves all as it is.
    Raises StackError when the home holds another kind's data, or when a program is missing.
    """
    if engines is None or engines == settings.engines:
        if settings.engines == "servers":
            fetch(say)
        return settings
    found = [name for name in _DATA_OF_A_STACK if (settings.home / name).exists()]
    if found:
        raise StackError(
            f"{settings.home} holds the data ({', '.join(found)}) of a stack on {settings.engines} engines: "
            f"set TALLY_HOME to another folder for one on {engines}"
        )
    if engines == "servers":
        fetch(say)
    values = {"TALLY_ENGINES": engines, **moved_ports(settings, (*_PORTS, *_OTHER_PORTS))}
    remember(settings.home / SETTINGS_FILE, values)
    return Settings(home=settings.home)


def missing() -> list[str]:
    """What this machine lacks for a stack on servers: one line each, with the command that installs it."""
    return list(dict.fromkeys(text for module in (kafka, mongodb, s3, postgresql) if (text := module.missing())))


def fetch(say: java.Say) -> None:
    """Fetch what the servers run on, unless it is there. Raises StackError."""
    if problems := missing():
        raise StackError("a stack on servers needs more than this machine has:\n" + "\n".join(problems))
    try:
        for jars in (kafka.JARS, mongodb.JARS, java.ECJ, s3.JARS):
            java.fetch(jars, say)
    except ServerError as error:
        raise StackError(str(error)) from error


def client_environment(settings: Settings) -> dict[str, str]:
    """AWS_* and DAGSTER_POSTGRES_* of the stack's own servers; empty without. Holds secrets: pass on, never print."""
    if settings.engines != "servers":
        return {}
    found = postgresql.dagster_environment(settings.home / "postgresql", settings.postgresql_port)
    if settings.archive_url == settings.local_archive_url:
        found |= s3.client_environment(settings.home / "s3", settings.s3_port)
    return found


def dagster_file(settings: Settings) -> Path:
    """The instance file of the settings' kind of storage."""
    name = "dagster.postgres.yaml" if settings.engines == "servers" else "dagster.yaml"
    return PROJECT_ROOT / "deploy" / "dagster" / name


def addresses(settings: Settings) -> dict[str, str]:
    """Where the servers listen, for a person."""
    if settings.engines != "servers":
        return {}
    return {
        "Event log": settings.event_log_url,
        "Raw store": settings.raw_store_url,
        "Archive": f"{settings.archive_url} at http://127.0.0.1:{settings.s3_port}",
        "PostgreSQL": f"postgresql://127.0.0.1:{settings.postgresql_port}",
    }


def server_specs(settings: Settings) -> list[ProcessSpec]:
    """The processes of the servers that these settings leave to the stack: none with embedded engines."""
    from orchestration.stack.plan import Phase, ProcessSpec

    if settings.engines != "servers":
        return []
    home = settings.home

    def run(name: str, port: int, *more: str) -> tuple[str, ...]:
        return (
            *(sys.executable, "-m", "deploy.servers", name),
            *("--folder", str(home / name), "--port", str(port), *more),
        )

    specs = []
    if settings.event_log_url == settings.local_event_log_url:
        controller = ("--controller-port", str(settings.kafka_controller_port))
        specs.append(
            ProcessSpec(
                name="kafka",
                phase=Phase.ENGINES,
                command=run("kafka", settings.kafka_port, *controller),
                ready=kafka_ready(settings.kafka_port),
                port=PortUse("Kafka", settings.kafka_port, "TALLY_KAFKA_PORT"),
            )
        )
    if settings.raw_store_url == settings.local_raw_store_url:
        specs.append(
            ProcessSpec(
                name="mongodb",
                phase=Phase.ENGINES,
                command=run("mongodb", settings.mongodb_port),
                ready=mongodb_ready(settings.mongodb_port),
                port=PortUse("MongoDB", settings.mongodb_port, "TALLY_MONGODB_PORT"),
            )
        )
    if settings.archive_url == settings.local_archive_url:
        specs.append(
            ProcessSpec(
                name="s3",
                phase=Phase.ENGINES,
                command=run("s3", settings.s3_port),
                ready=s3_ready(settings.s3_port),
                port=PortUse("S3", settings.s3_port, "TALLY_S3_PORT"),
            )
        )
    postgres = postgresql_ready(settings.postgresql_port, postgresql.USER, postgresql.password(home / "postgresql"))
    specs.append(
        ProcessSpec(
            name="postgresql",
            phase=Phase.ENGINES,
            command=run("postgresql", settings.postgresql_port),
            ready=postgres,
            port=PortUse("PostgreSQL", settings.postgresql_port, "TALLY_POSTGRESQL_PORT"),
        )
    )
    return specs
