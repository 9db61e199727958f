"""Starting and stopping the stack: in order, with health checks, harmless when repeated, at home after any crash.

Belongs here: `up`, `down` and what they wait for. Does not belong here: which processes there are (`plan`), printing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import psutil

from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.stack import leftovers
from orchestration.stack.errors import ProcessFailedError, StackError
from orchestration.stack.locks import exclusive
from orchestration.stack.paths import STORAGE_STAMP, StackPaths, last_lines
from orchestration.stack.plan import Phase, ProcessSpec, plan
from orchestration.stack.ports import require_free
from orchestration.stack.servers import dagster_file
from orchestration.stack.stores import prepare_stores
from orchestration.stack.supervisord import MEMBER_VARIABLE, Supervisor, launch, render_config, running_pid

_POLL_SECONDS = 0.1
_TRIES = 3
_LOCK_SECONDS = 60.0
_STORAGE_SECONDS = 60.0
_STARTING = ((Phase.ENGINES,), (Phase.STREAMING, Phase.DAGSTER))
"""Phases that start at the same time, and in the reverse order stop at the same time: engines first, and last."""

_STOP_SECONDS = 5.0
"""For the phases that stop together. Their processes are killed a second earlier, so twice this, and two seconds for
supervisord, is the longest a stop takes."""


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One step of `up` or `down`, for a display. `seconds` is how long the step took."""

    kind: Literal["starting", "ready", "stopping", "stopped", "note"]
    name: str
    seconds: float = 0.0
    detail: str = ""


Listener = Callable[[StackEvent], None]


def up(
    settings: Settings,
    on_event: Listener,
    *,
    specs: Sequence[ProcessSpec] | None = None,
    prepare: Callable[[Settings], None] | None = None,
) -> None:
    """Start what does not run yet and return when everything is ready; a stack that runs is left as it is.

    Raises PortInUseError before anything starts, ProcessFailedError with the last log lines of the process that did
    not come up, StackError when the running stack has other settings. What did start keeps running.
    """
    paths = StackPaths(settings.home)
    paths.create()
    specs = plan(settings) if specs is None else specs
    with _exclusive(paths):
        supervisor = _supervisor(settings, specs, paths, on_event)
        for phases in _STARTING:
            _start([spec for spec in specs if spec.phase in phases], supervisor, paths, on_event)
            if Phase.ENGINES in phases:
                begun = time.monotonic()
                on_event(StackEvent("starting", "tables and topics"))
                (prepare or _prepare)(settings)
                on_event(StackEvent("ready", "tables and topics", time.monotonic() - begun))


def down(settings: Settings, on_event: Listener, *, specs: Sequence[ProcessSpec] | None = None) -> int:
    """Stop every process of the stack and supervisord itself, within 15 s. Returns how many processes there were."""
    paths = StackPaths(settings.home)
    if not paths.run.is_dir():
        return 0
    with _exclusive(paths):
        count = 0
        pid = running_pid(paths)
        if pid is not None:
            count = _stop_in_order(Supervisor(paths), plan(settings) if specs is None else specs, on_event)
            _end_supervisord(Supervisor(paths), pid)
        swept = leftovers.end(leftovers.members(settings.home))
        if swept and pid is None:
            on_event(StackEvent("note", "leftovers", detail=f"ended {swept} processes of a stack that had crashed"))
            count = swept
        for file in (paths.socket, paths.pid_file, paths.fingerprint):
            file.unlink(missing_ok=True)
        return count


def is_running(settings: Settings) -> bool:
    """True when this home's supervisord is alive and answers."""
    paths = StackPaths(settings.home)
    return running_pid(paths) is not None and Supervisor(paths).answers()


def _supervisor(settings: Settings, specs: Sequence[ProcessSpec], paths: StackPaths, on_event: Listener) -> Supervisor:
    """Return a supervisord that answers: the running one, or a new one after cleaning up behind a crashed one."""
    fingerprint = _fingerprint(settings)
    supervisor = Supervisor(paths)
    pid = running_pid(paths)
    if pid is not None and supervisor.answers():
        if paths.fingerprint.exists() and paths.fingerprint.read_text() != fingerprint:
            raise StackError(
                f"the stack in {settings.home} (supervisord pid {pid}) runs with other settings than those given now: "
                "run `tally down` first, or set TALLY_HOME to another folder"
            )
        states = supervisor.states()
        require_free(spec.port for spec in specs if spec.port and states[spec.name].gone)
        return supervisor
    swept = leftovers.end(leftovers.members(settings.home))
    if swept:
        on_event(StackEvent("note", "leftovers", detail=f"ended {swept} processes that a crash had left behind"))
    for stale in (paths.socket, paths.pid_file):
        stale.unlink(missing_ok=True)
    require_free(spec.port for spec in specs if spec.port)
    paths.config.write_text(render_config(specs, paths))
    paths.fingerprint.write_text(fingerprint)
    launch(paths, _environment(settings))
    return supervisor


def _fingerprint(settings: Settings) -> str:
    text = "\n".join(f"{name}={value}" for name, value in sorted(settings.environment().items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _prepare(settings: Settings) -> None:
    """Tables and topics, and beside it Dagster's own storage, which takes a second process anyway."""
    dagster = _make_dagster_home(settings)
    prepare_stores(settings)
    if dagster is not None and dagster.wait(timeout=_STORAGE_SECONDS) != 0:
        log = StackPaths(settings.home).log("dagster-storage")
        raise ProcessFailedError("Dagster's storage", f"exit code {dagster.returncode}", str(log), last_lines(log))


def _make_dagster_home(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Where Dagster has no storage yet, begin to make it (`dagster_storage` says why)."""
    write_dagster_home(settings)
    if (settings.dagster_home / STORAGE_STAMP).exists():
        return None
    with StackPaths(settings.home).log("dagster-storage").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestration.stack.dagster_storage"],
            env=_environment(settings), cwd=PROJECT_ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip


def write_dagster_home(settings: Settings) -> None:
    """Make DAGSTER_HOME and its dagster.yaml, as the release has it."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(dagster_file(settings), settings.dagster_home / "dagster.yaml")


def _environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, **settings.environment(), MEMBER_VARIABLE: str(settings.home)}


def _start(specs: Sequence[ProcessSpec], supervisor: Supervisor, paths: StackPaths, on_event: Listener) -> None:
    """Start all of them at once and wait until each is ready."""
    begun = time.monotonic()
    states = supervisor.states()
    for spec in specs:
        if states[spec.name].gone:
            supervisor.start(spec.name)
        on_event(StackEvent("starting", spec.name))
    waiting = {spec.name: spec for spec in specs}
    pids: dict[str, set[int]] = {spec.name: set() for spec in specs}
    problems: dict[str, str] = {}
    while waiting:
        states = supervisor.states()
        for name, spec in list(waiting.items()):
            state = states[name]
            elapsed = time.monotonic() - begun
            if state.pid:
                pids[name].add(state.pid)
            problem = spec.ready.problem() if state.running else f"{state.state.lower()}: {state.detail}"
            if problem is None:
                del waiting[name]
                on_event(StackEvent("ready", name, elapsed))
                continue
            problems[name] = problem
            if state.state == "FATAL" or len(pids[name]) >= _TRIES:
                _fail(name, f"it exits again and again ({problem})", paths)
            if elapsed > spec.start_seconds:
                _fail(name, f"not ready after {spec.start_seconds:.0f} s ({problem})", paths)
        time.sleep(_POLL_SECONDS)


def _fail(name: str, why: str, paths: StackPaths) -> None:
    raise ProcessFailedError(name, why, str(paths.log(name)), last_lines(paths.log(name)))


def _stop_in_order(supervisor: Supervisor, specs: Sequence[ProcessSpec], on_event: Listener) -> int:
    """Stop the engines last, so that workers can still drain into their stores."""
    try:
        states = supervisor.states()
    except StackError:
        return 0  # alive but deaf: the caller ends it, and the sweep its children
    running = {name for name, state in states.items() if not state.gone}
    for phases in reversed(_STARTING):
        begun = time.monotonic()
        stopping = [spec.name for spec in specs if spec.phase in phases and spec.name in running]
        for name in stopping:
            on_event(StackEvent("stopping", name))
            supervisor.stop(name)
        while stopping and time.monotonic() - begun < _STOP_SECONDS:
            states = supervisor.states()
            for name in [name for name in stopping if states[name].gone]:
                stopping.remove(name)
                on_event(StackEvent("stopped", name, time.monotonic() - begun))
            time.sleep(_POLL_SECONDS)
    return len(running)


def _end_supervisord(supervisor: Supervisor, pid: int) -> None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(StackError):
        supervisor.shutdown()
    if leftovers.wait_gone([process], 2.0):
        leftovers.end([process], grace=0.0)


def _exclusive(paths: StackPaths) -> AbstractContextManager[None]:
    """Let one `up` or `down` at a time work on a home."""
    return exclusive(
        paths.lock, "`tally up` or `tally down`", _LOCK_SECONDS, lambda who: f"{who} is at work on {paths.home}"
    )
