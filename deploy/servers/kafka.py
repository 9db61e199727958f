"""The Kafka broker: one node that is also its own controller, small and quick to come back after a crash.

Belongs here: its jars, server.properties, formatting. Does not belong here: topics (`streaming.topics`), clients.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.servers import java
from deploy.servers.errors import ServerError
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.process import Server
from deploy.servers.ready import kafka_ready

JARS = java.Jars("kafka", ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36"))
HEAP = "256m"
_CLUSTER_ID = "VGFsbHktbG9jYWwtbm9kZQ"  # 16 bytes in base64; one node needs no other to tell apart
# C1 alone: the broker moves bytes, and the second compiler costs its start two seconds of CPU and 60 MB.
_JAVA_OPTIONS = (
    f"-Xmx{HEAP}",
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


@dataclass(frozen=True, slots=True)
class Secured:
    """A second listener with TLS and SASL/PLAIN. `key_store` is a PKCS12 file; passwords by user name."""

    port: int
    key_store: Path
    key_store_password: str
    passwords: dict[str, str]


def missing() -> str | None:
    """What this machine lacks to run it, with the command that installs it; None: nothing."""
    return java.missing(JARS)


def command(
    folder: Path, port: int, controller_port: int, *, secured: Secured | None = None, say: java.Say | None = None
) -> list[str]:
    """Write the configuration, format an empty folder, and return the command line. Data stay from start to start."""
    libraries = java.fetch(JARS, say)
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.touch(mode=0o600)  # it may hold passwords of the secured listener
    properties.write_text(_properties(folder, port, controller_port, secured), encoding="utf-8")
    run = [java.find_java(), *_JAVA_OPTIONS, "-cp", java.class_path(libraries)]
    if not (folder / "data" / "meta.properties").exists():
        formatted = subprocess.run(
            [*run, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode:
            raise ServerError(f"Kafka could not format {folder / 'data'}:\n{formatted.stdout}{formatted.stderr}")
    return [*run, "kafka.Kafka", str(properties)]


def server(folder: Path, port: int = 0, *, secured: Secured | None = None) -> Server:
    """A broker in this folder. It may be killed and started again: same port, same data."""
    port, controller_port = port or free_port(), free_port()
    return Server(
        "kafka",
        folder,
        port,
        lambda: command(folder, port, controller_port, secured=secured),
        kafka_ready(port),
        url=f"kafka://{LOCAL}:{port}",
    )


def _properties(folder: Path, port: int, controller_port: int, secured: Secured | None) -> str:
    listeners = f"PLAINTEXT://{LOCAL}:{port}" + (f",SASL_SSL://{LOCAL}:{secured.port}" if secured else "")
    lines = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@{LOCAL}:{controller_port}",
        f"listeners={listeners},CONTROLLER://{LOCAL}:{controller_port}",
        f"advertised.listeners={listeners}",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=PLAINTEXT",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        f"log.dirs={folder / 'data'}",
        "auto.create.topics.enable=false",
        "num.partitions=1",
        *(f"{topic}.replication.factor=1" for topic in ("offsets.topic", "transaction.state.log")),
        *("share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1"),
        *("offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4"),
        *("share.coordinator.state.topic.num.partitions=1", "transaction.state.log.min.isr=1"),
        # Small groups on one machine: no waiting for more members, and short sessions for those who ask for them.
        *("group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000"),
        # A killed broker is let in again when its old session has ended: 9 s by default.
        *("broker.session.timeout.ms=1000", "broker.heartbeat.interval.ms=200"),
        *("log.cleaner.dedupe.buffer.size=4194304", "num.io.threads=2", "num.network.threads=2"),
        # Compaction and retention within seconds where a topic's segments allow it.
        *("log.retention.check.interval.ms=1000", "log.cleaner.backoff.ms=1000", "log.segment.delete.delay.ms=1000"),
    ]
    if secured:
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = " ".join(f'user_{user}="{password}"' for user, password in secured.passwords.items())
        lines += [
            f"listener.name.sasl_ssl.ssl.keystore.location={secured.key_store}",
            "listener.name.sasl_ssl.ssl.keystore.type=PKCS12",
            f"listener.name.sasl_ssl.ssl.keystore.password={secured.key_store_password}",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN",
            f"listener.name.sasl_ssl.plain.sasl.jaas.config={login} {users};",
        ]
    return "\n".join(lines) + "\n"
