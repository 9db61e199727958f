"""What a `kafka://` URL says to librdkafka, and what librdkafka's errors say to us.

Belongs here: properties shared by all clients, secrets, error translation. Does not belong here: sending and reading.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from confluent_kafka import KafkaError, KafkaException

from resources.event_log.base import EventLogError, LogUnavailableError

PASSWORD_VARIABLE = "TALLY_KAFKA_PASSWORD"  # noqa: S105 - the name of the variable, not its content
_DEFAULT_PORT = 9092
_SECRET_PROPERTIES = ("sasl.password", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.client.secret")
_OF_TOPICS = ("replication.factor", "min.insync.replicas")

# Errors that stay when the same thing is tried again; all others are taken to pass.
_PERMANENT = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REQUEST,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._AUTHENTICATION,
        KafkaError._INVALID_ARG,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)


# librdkafka writes a line per failed connection, twenty a second while a broker is away: what matters of it reaches the
# caller as an error, and the log through `ErrorLog`.
_DEFAULTS: dict[str, str | int | bool] = {
    "client.id": "tally",
    "log_level": 2,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
}
_SAME_ERROR_AGAIN = 30.0  # seconds
_EXPLAINS_FOR = 15.0  # seconds for which a connection's error is taken to be behind the errors of requests


class ErrorLog:
    """An `error_cb`: writes each error to the log, the same one at most twice a minute, and remembers the last.

    librdkafka tells a caller that a request timed out, and only its `error_cb` why there is no connection.
    """

    def __init__(self, logger: logging.Logger, place: str) -> None:
        self._last: tuple[KafkaError, float] | None = None
        self._logger = logger
        self._place = place
        self._said_at: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        # That all brokers are down says less than what was said of one of them.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.recent is None:
            self._last = (error, now)
        if now - self._said_at.get(error.name(), -_SAME_ERROR_AGAIN) >= _SAME_ERROR_AGAIN:
            self._said_at[error.name()] = now
            self._logger.warning("%s: %s", self._place, error.str())

    @property
    def recent(self) -> KafkaError | None:
        """The last error, if it is from the last seconds."""
        if self._last is None or time.monotonic() - self._last[1] > _EXPLAINS_FOR:
            return None
        return self._last[0]


@dataclass(frozen=True, slots=True)
class KafkaTarget:
    """Where the log is and how to get in. `url` is safe to show; `properties` hold the password and are not shown.

    `replication_factor` and `min_insync_replicas` are what topics get when they do not state it.
    """

    url: str
    properties: dict[str, str | int | bool] = field(repr=False)
    replication_factor: int | None = None
    min_insync_replicas: int | None = None


def parse_url(url: str) -> KafkaTarget:
    """Read `kafka://host[:port][,host[:port]]?property=value`; properties are librdkafka's, for every client.

    Two properties are of topics that are made: `replication.factor` and `min.insync.replicas`. The SASL password comes
    from the environment variable TALLY_KAFKA_PASSWORD alone.

    Raises:
        EventLogError: no host, a path, a replica number that is none, or a secret in the URL. The message does not
            repeat the secret.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        shown = f"kafka://…@{parts.netloc.rpartition('@')[2]}"
        raise EventLogError(
            f"event log URL {shown!r}: no user or password here; use ?sasl.username= and {PASSWORD_VARIABLE}"
        )
    if parts.path.strip("/"):
        raise EventLogError(
            f"event log URL {url!r}: expected kafka://host:port[,host:port], found the path {parts.path!r}"
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in _SECRET_PROPERTIES:
        if name in given:
            raise EventLogError(
                f"event log URL kafka://{parts.netloc}: {name} does not belong in a URL; set {PASSWORD_VARIABLE}"
            )
    replicas = {name: _replicas(parts.netloc, name, given.pop(name, None)) for name in _OF_TOPICS}
    hosts = [host for host in parts.netloc.split(",") if host]
    if not hosts:
        raise EventLogError(f"event log URL {url!r}: expected kafka://host:port[,host:port], found no host")
    servers = ",".join(host if _has_port(host) else f"{host}:{_DEFAULT_PORT}" for host in hosts)
    properties: dict[str, str | int | bool] = {**_DEFAULTS, **given, "bootstrap.servers": servers}
    password = os.environ.get(PASSWORD_VARIABLE)
    if password and "sasl.username" in given:
        properties["sasl.password"] = password
    return KafkaTarget(url, properties, *replicas.values())


def explain(
    url: str, doing: str, error: KafkaException | KafkaError, behind: KafkaError | None = None
) -> EventLogError:
    """Turn librdkafka's error into ours; LogUnavailableError unless trying again cannot help.

    `behind` is the connection's own error (`ErrorLog.recent`): a wrong password is one that stays.
    """
    cause = error.args[0] if isinstance(error, KafkaException) else error
    text = f"{url}: {doing}: {cause.str()}" + (f" ({behind.str()})" if behind else "")
    stays = cause.code() in _PERMANENT or (behind is not None and behind.code() == KafkaError._AUTHENTICATION)
    return EventLogError(text) if stays else LogUnavailableError(text)


def _replicas(servers: str, name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise EventLogError(f"event log URL kafka://{servers}: {name}={text!r} is not a number of replicas")
    return int(text)


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")
