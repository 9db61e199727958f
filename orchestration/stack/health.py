"""Health checks: each says why a process is not ready yet, or None when it is.

Belongs here: one small probe per protocol. Does not belong here: waiting, starting, printing.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

_PROBE_SECONDS = 2.0
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)
"""What asking a process that has not started yet, or not fully, can raise."""


class HealthCheck(Protocol):
    def problem(self) -> str | None:
        """Return None when the process serves, else one sentence saying what is missing."""
        ...


@dataclass(frozen=True, slots=True)
class HttpReady:
    """GET `path` answers 200."""

    host: str
    port: int
    path: str

    def problem(self) -> str | None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", self.path)
            response = connection.getresponse()
            body = response.read(500).decode("utf-8", errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            return f"http://{self.host}:{self.port}{self.path} does not answer ({error})"
        finally:
            connection.close()
        if response.status == 200:
            return None
        return f"http://{self.host}:{self.port}{self.path} answered {response.status}: {body}"


@dataclass(frozen=True, slots=True)
class RedisReady:
    """PING answers PONG."""

    host: str
    port: int

    def problem(self) -> str | None:
        try:
            with socket.create_connection((self.host, self.port), timeout=_PROBE_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError as error:
            return f"redis://{self.host}:{self.port} does not answer ({error})"
        return None if answer.startswith(b"+PONG") else f"redis://{self.host}:{self.port} answered {answer!r}"


@dataclass(frozen=True, slots=True)
class GrpcReady:
    """The gRPC health service of a Dagster code server says SERVING."""

    host: str
    port: int

    def problem(self) -> str | None:
        import grpc  # type: ignore[import-untyped]  # grpcio ships no types
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this

        with grpc.insecure_channel(f"{self.host}:{self.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=_PROBE_SECONDS)
            except grpc.RpcError as error:
                code = error.code().name if isinstance(error, grpc.Call) else str(error)
                return f"grpc://{self.host}:{self.port} does not answer ({code})"
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return None
        return f"grpc://{self.host}:{self.port} is not serving yet"


@dataclass(frozen=True, slots=True)
class LocationsReady:
    """Dagster's webserver answers, and has loaded every code location of its workspace."""

    host: str
    port: int

    def problem(self) -> str | None:
        query = (
            "{workspaceOrError{__typename ...on PythonError{message} ...on Workspace{locationEntries{name loadStatus"
            " locationOrLoadError{__typename ...on PythonError{message errorChain{error{message}}}}}}}}"
        )
        try:
            workspace = _ask_dagster(self.host, self.port, query)["workspaceOrError"]
            if workspace["__typename"] != "Workspace":
                return f"Dagster's workspace cannot be loaded: {workspace.get('message', '').strip()}"
            problems = list(filter(None, map(_location_problem, workspace["locationEntries"])))
        except _NO_ANSWER as error:
            return f"Dagster's webserver does not answer yet ({error})"
        return "; ".join(problems) or (None if workspace["locationEntries"] else "no code location is loaded yet")


@dataclass(frozen=True, slots=True)
class DaemonsReady:
    """Dagster's webserver reports a fresh heartbeat of every required daemon."""

    host: str
    port: int

    def problem(self) -> str | None:
        query = "{instance{daemonHealth{allDaemonStatuses{daemonType required healthy}}}}"
        try:
            statuses = _ask_dagster(self.host, self.port, query)["instance"]["daemonHealth"]["allDaemonStatuses"]
        except _NO_ANSWER as error:
            return f"Dagster's webserver cannot tell yet ({error})"
        waiting = [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]
        return f"no heartbeat yet of {', '.join(waiting)}" if waiting else None


@dataclass(frozen=True, slots=True)
class RunHostReady:
    """The run host answers. Its workers may still be importing: a run waits for them no longer than without them."""

    socket: Path

    def problem(self) -> str | None:
        from orchestration.runs.protocol import RunHostError, ask

        try:
            ask(self.socket, {"ping": True}, _PROBE_SECONDS)
        except RunHostError as error:
            return str(error)
        return None


def _ask_dagster(host: str, port: int, query: str) -> dict[str, Any]:
    """Return the data of a GraphQL answer. Raises one of `_NO_ANSWER`."""
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    try:
        connection.request(
            "POST", "/graphql", json.dumps({"query": query}), headers={"Content-Type": "application/json"}
        )
        data: dict[str, Any] = json.loads(connection.getresponse().read())["data"]
    finally:
        connection.close()
    return data


def _location_problem(entry: dict[str, Any]) -> str | None:
    loaded = entry["locationOrLoadError"]
    if loaded is not None and loaded["__typename"] == "PythonError":
        # The innermost error is the cause; those around it say where Dagster met it.
        causes = [loaded["message"], *(link["error"]["message"] for link in loaded["errorChain"])]
        return f"code location {entry['name']} cannot be loaded: {causes[-1].strip()}"
    ready = loaded is not None and entry["loadStatus"] == "LOADED"
    return None if ready else f"code location {entry['name']} is still loading"


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The process's own stats file was written by a live process in the last seconds, and says that it is at work."""

    stats: Path
    fresh_seconds: float = 10.0

    def problem(self) -> str | None:
        from streaming.worker.stats import read_stats

        try:
            stats = read_stats(self.stats)
        except ValueError as error:
            return str(error)
        if stats is None or time.time() - float(stats["updated_at_ms"]) / 1000 > self.fresh_seconds:
            return "it has not reported yet"
        if not psutil.pid_exists(int(stats["pid"])):
            return f"its last report is of pid {stats['pid']}, which is gone"
        return (
            None if stats["state"] == "running" else f"it is {stats['state']}: {stats['problem'] or 'no reason given'}"
        )
