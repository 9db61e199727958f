"""supervisord: its configuration, its start, and talking to it over its Unix socket.

Belongs here: everything that knows supervisord. Does not belong here: which processes there are (`plan`) and in
which order they start (`lifecycle`).

Settings travel in supervisord's own environment, which its children inherit, so no secret is written to the file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from orchestration.settings import PROJECT_ROOT
from orchestration.stack.errors import StackError
from orchestration.stack.paths import StackPaths, last_lines
from orchestration.stack.plan import ProcessSpec

LOG_BYTES = 10 * 1024 * 1024
LOG_BACKUPS = 3
START_RETRIES = 20
"""supervisord waits 1, 2, 3 … s between tries: 20 tries are 3.5 minutes, then the process is FATAL until `tally up`."""

MEMBER_VARIABLE = "TALLY_STACK_MEMBER"
"""Environment variable of every process of a stack, children included: the stack's home. It finds leftovers."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What supervisord says of one process. `started_at` is None unless it runs."""

    name: str
    state: str
    pid: int | None
    started_at: datetime | None
    detail: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"

    @property
    def gone(self) -> bool:
        return self.state in {"STOPPED", "EXITED", "FATAL"}


def render_config(specs: Sequence[ProcessSpec], paths: StackPaths) -> str:
    """Return supervisord.conf. Nothing starts by itself: `lifecycle` starts processes in order."""
    lines = [
        "; Written by `tally up`; changes are lost.",
        "[supervisord]",
        f"logfile={_escape(str(paths.log('supervisord')))}",
        f"logfile_maxbytes={LOG_BYTES}",
        f"logfile_backups={LOG_BACKUPS}",
        f"pidfile={_escape(str(paths.pid_file))}",
        f"childlogdir={_escape(str(paths.logs))}",
        f"directory={_escape(str(PROJECT_ROOT))}",
        "identifier=tally",
        "nodaemon=false",
        "umask=022",
    ]
    if os.getuid() == 0:
        lines.append("user=root")  # saying so silences a warning meant for those who did not mean it
    lines += [
        "[unix_http_server]",
        f"file={_escape(str(paths.socket))}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, spec in enumerate(specs, start=1):
        lines += [
            f"[program:{spec.name}]",
            f"command={_escape(_quote([*_die_with_parent(), *spec.command]))}",
            f"directory={_escape(str(PROJECT_ROOT))}",
            f"environment={_escape(_environment(spec.environment))}",
            f"priority={priority}",
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            f"startretries={START_RETRIES}",
            "stopsignal=TERM",
            f"stopwaitsecs={spec.stop_seconds}",
            f"stopasgroup={'true' if spec.stop_group else 'false'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escape(str(paths.log(spec.name)))}",
            f"stdout_logfile_maxbytes={LOG_BYTES}",
            f"stdout_logfile_backups={LOG_BACKUPS}",
        ]
    return "\n".join(lines) + "\n"


def _die_with_parent() -> list[str]:
    """Linux: the kernel ends a child whose supervisord was killed. Elsewhere `leftovers` does so at the next start."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def _quote(command: Sequence[str]) -> str:
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in command)


def _environment(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(environment.items()))


def running_pid(paths: StackPaths) -> int | None:
    """Return supervisord's pid when the pid file names a live supervisord of this stack, else None."""
    try:
        pid = int(paths.pid_file.read_text())
        command = psutil.Process(pid).cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return pid if str(paths.config) in command else None


def launch(paths: StackPaths, environment: Mapping[str, str], timeout: float = 10.0) -> None:
    """Start supervisord as a daemon and wait until its socket answers. Raises StackError with its last log lines."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(paths.config)]
    # Not a pipe: the daemon keeps the descriptors it was born with, and the caller would wait for the pipe's end.
    with paths.log("supervisord-start").open("wb") as output:
        outcome = subprocess.run(
            command, env=dict(environment), cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, check=False, timeout=timeout,
        )  # fmt: skip
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and outcome.returncode == 0:
        if Supervisor(paths).answers():
            return
        time.sleep(0.05)
    told = last_lines(paths.log("supervisord-start"), 5) + last_lines(paths.log("supervisord"), 5)
    raise StackError("supervisord did not start:\n" + "\n".join(told))


class Supervisor:
    """Client of one stack's supervisord. Raises StackError when it cannot be reached."""

    def __init__(self, paths: StackPaths) -> None:
        from supervisor.xmlrpc import SupervisorTransport

        self._paths = paths
        self._proxy = xmlrpc.client.ServerProxy(
            "http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{paths.socket}")
        )

    def answers(self) -> bool:
        try:
            self._call("getState")
        except StackError:
            return False
        return True

    def states(self) -> dict[str, ProcessState]:
        return {state.name: state for state in map(_state, self._call("getAllProcessInfo"))}

    def start(self, name: str) -> None:
        """Ask for a start without waiting; a process that already runs is left alone."""
        self._call("startProcess", name, False, ignore=("ALREADY_STARTED",))

    def stop(self, name: str) -> None:
        """Ask for a stop without waiting; TERM now, KILL after the process's `stop_seconds`."""
        self._call("stopProcess", name, False, ignore=("NOT_RUNNING",))

    def shutdown(self) -> None:
        self._call("shutdown")

    def _call(self, method: str, *arguments: object, ignore: tuple[str, ...] = ()) -> list[dict[str, object]]:
        try:
            answer: list[dict[str, object]] = getattr(self._proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if any(word in fault.faultString for word in ignore):
                return []
            raise StackError(f"supervisord refused {method}{arguments}: {fault.faultString}") from fault
        except (OSError, xmlrpc.client.Error) as error:
            raise StackError(f"supervisord does not answer on {self._paths.socket}: {error}") from error
        except Exception as error:  # http.client's states after a broken socket are of many types
            raise StackError(f"supervisord broke off on {self._paths.socket}: {error!r}") from error
        return answer


def _state(info: Mapping[str, object]) -> ProcessState:
    pid = int(str(info["pid"]))
    start = float(str(info["start"]))
    state = str(info["statename"])
    return ProcessState(
        name=str(info["name"]),
        state=state,
        pid=pid or None,
        started_at=datetime.fromtimestamp(start, UTC) if state == "RUNNING" and start else None,
        detail=str(info["spawnerr"] or info["description"]),
    )
