"""Is a server ready? One question per protocol, asked with the client that the product uses.

Belongs here: asking once. Does not belong here: waiting, starting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.servers.ports import LOCAL

_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ready:
    """`ask` raises while the server at `where` does not answer as it should."""

    where: str
    ask: Callable[[], None]

    def problem(self) -> str | None:
        """Return None when the server answers, else one sentence."""
        try:
            self.ask()
        except Exception as error:  # each client has errors of its own, and all of them mean: not yet
            return (
                f"{self.where} does not answer ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            )
        return None


def kafka_ready(port: int) -> Ready:
    def ask() -> None:
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": f"{LOCAL}:{port}", "log_level": 0})
        if not admin.list_topics(timeout=_SECONDS).brokers:
            raise ConnectionError("no broker has registered yet")

    return Ready(f"kafka://{LOCAL}:{port}", ask)


def mongodb_ready(port: int) -> Ready:
    def ask() -> None:
        import pymongo

        with pymongo.MongoClient[dict[str, object]](
            LOCAL, port, serverSelectionTimeoutMS=int(_SECONDS * 1000), directConnection=True
        ) as client:
            client.admin.command("ping")

    return Ready(f"mongodb://{LOCAL}:{port}", ask)


def redis_ready(port: int) -> Ready:
    def ask() -> None:
        import redis

        with redis.Redis(LOCAL, port, socket_timeout=_SECONDS) as client:
            client.ping()

    return Ready(f"redis://{LOCAL}:{port}", ask)


def postgresql_ready(port: int, user: str, password: str) -> Ready:
    def ask() -> None:
        import psycopg2  # type: ignore[import-untyped]  # ships no types

        psycopg2.connect(
            host=LOCAL, port=port, user=user, password=password, dbname="postgres", connect_timeout=int(_SECONDS)
        ).close()

    return Ready(f"postgresql://{LOCAL}:{port}", ask)


def s3_ready(port: int) -> Ready:
    def ask() -> None:
        import http.client

        connection = http.client.HTTPConnection(LOCAL, port, timeout=_SECONDS)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status >= 500:
            raise ConnectionError(f"HTTP status {status}")

    return Ready(f"http://{LOCAL}:{port}", ask)
