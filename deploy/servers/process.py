"""A server as a child process that a test can start, stop, kill, pause and start again.

Belongs here: processes and their logs. Does not belong here: what any of the servers needs (its own module).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy.servers.errors import ServerError
from deploy.servers.ready import Ready

START_SECONDS = 90.0
"""How long a server may take to answer: ten times what the slowest needs on a quiet machine."""

_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05


def dies_with_parent(command: Sequence[str], *, death_signal: str = "KILL", user: str | None = None) -> list[str]:
    """The same command, ended by the kernel when its parent dies (Linux; elsewhere it is returned as it is).

    `user` also runs it as that user. Raises ServerError when that is asked for and cannot be done here.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        if user is not None:
            raise ServerError(f"cannot run {command[0]} as user {user}: there is no setpriv on PATH")
        return list(command)
    change = [] if user is None else ["--reuid", user, "--regid", user, "--init-groups"]
    return [setpriv, "--pdeathsig", death_signal, *change, *command]


class Server:
    """One server on one port with one folder. Not thread-safe. Starts with `start` or `with`.

    Args:
        name: For messages and the log file's name.
        folder: Everything it keeps; made if missing. Its log is `<folder>/<name>.log`, appended by each start.
        port: Where it listens, on 127.0.0.1.
        command: Prepares the folder and returns the command line; called by each start.
        ready: Says whether it answers.
        url: How clients of the product name it.
        environment: Added to this process's environment.
        stop_signal: Asks it to end in good order.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        port: int,
        command: Callable[[], Sequence[str]],
        ready: Ready,
        *,
        url: str,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self.url = url
        self.log = folder / f"{name}.log"
        self._command = command
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Raises ServerError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start it, on the same port and data as before, and return when it answers.

        Raises ServerError with the last lines of its log when it ends or does not answer in time.
        """
        if self.running:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        command = dies_with_parent(self._command())
        with self.log.open("ab") as log:
            # A session of its own, so that a signal reaches its children too and Ctrl-C in a terminal reaches neither.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until it answers. Raises ServerError as `start` does."""
        deadline = time.monotonic() + timeout
        while problem := self._ready.problem():
            if self._process is not None and (code := self._process.poll()) is not None:
                raise ServerError(f"{self.name} ended with {code} before it answered; {self._last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.name} is not ready after {timeout:g} s: {problem}; {self._last_words()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it in good order, and kill it when that takes too long. Harmless when it does not run."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(self._stop_signal)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL it and its children, as a crash would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _last_words(self, lines: int = 30) -> str:
        """The end of its log, with the log's name."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            text = []
        return f"the end of {self.log}:\n" + "\n".join(text)
