"""The run host: gives each run a process that has already imported what it needs.

Belongs here: the workers' lifecycle, and which of them gets a run. Does not belong here: executing runs (`worker`), the
definitions; this process imports neither Dagster nor polars and takes 15 MB.

Workers execute runs one after the other: no fork of a process with threads in it, and no import for each run. One
worker is always kept; others end after a quiet time. A worker ends after many runs, or when it has grown. What happens
to a run whose worker dies is the business of the launcher and of Dagster's monitoring.
"""

from __future__ import annotations

import argparse
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from orchestration.runs.protocol import MOST_BYTES, dump, load

_log = logging.getLogger("tally.run_host")

MOST_WORKERS = 6
"""More runs than `max_concurrent_runs` of dagster.yaml are never at work; two more may be on their way out."""
MOST_RUNS = 200
"""A worker is replaced after so many runs, in case something leaks."""
MOST_BYTES_OF_WORKER = 600 * 1024 * 1024
IDLE_SECONDS = 30.0
FIRST_AFTER_SECONDS = 10.0
"""While a stack starts, its other processes need the processor more than the first worker does."""
_LOOK_SECONDS = 1.0


class Worker:
    """A worker process, the run it executes, and the channel on which it tells that it has finished."""

    def __init__(self, preload: str) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            arguments = ["--channel", str(theirs.fileno()), "--preload", preload]
            command = [sys.executable, "-m", "orchestration.runs.worker", *arguments]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.started = int(psutil.Process(self.process.pid).create_time())
        self.run_id: str | None = None
        self.locations: set[str] = set()
        self.runs = 0
        self.idle_since = time.monotonic()
        self._unread = b""

    def give(self, run_id: str, instance: str, location: str) -> None:
        """Hand it a run; it begins as soon as it has imported what it needs."""
        self.run_id = run_id
        self.locations.add(location)
        self.runs += 1
        self.channel.sendall(dump({"run_id": run_id, "instance": instance}))

    def hear(self) -> bool:
        """Read what it says; False when it has ended."""
        try:
            received = self.channel.recv(4096)
        except OSError:
            return False
        if not received:
            return False
        *lines, self._unread = (self._unread + received).split(b"\n")
        if any(load(line).get("finished") == self.run_id for line in lines):
            self.run_id = None
            self.idle_since = time.monotonic()
        return True

    @property
    def is_worn(self) -> bool:
        """Whether it should be replaced rather than be given another run."""
        try:
            return self.runs >= MOST_RUNS or psutil.Process(self.process.pid).memory_info().rss > MOST_BYTES_OF_WORKER
        except psutil.NoSuchProcess:
            return True

    def retire(self) -> None:
        """Let it end when its run has: it reads the end of its channel."""
        self.channel.close()


class RunHost:
    """Workers, and the socket on which runs are asked for. One thread."""

    def __init__(self, path: Path, preload: str) -> None:
        self._path = path
        self._preload = preload
        self._began = time.monotonic()
        self._workers: list[Worker] = []
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def stop(self) -> None:
        """Serve no more; workers end when their runs have."""
        self._stopping = True

    def serve(self) -> None:
        """Answer until `stop`.

        Raises:
            OSError: the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(os.fspath(self._path))
            self._path.chmod(0o600)
            listener.listen()
            self._selector.register(listener, selectors.EVENT_READ, listener)
            while not self._stopping:
                self._tidy()
                for key, _ in self._selector.select(_LOOK_SECONDS):
                    if isinstance(key.data, Worker):
                        if not key.data.hear():
                            self._drop(key.data)
                    else:
                        self._answer(listener)
        for worker in list(self._workers):
            self._drop(worker)
        self._path.unlink(missing_ok=True)

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(1.0)
            try:
                with connection.makefile("rb") as request:
                    answer = self._respond(load(request.readline(MOST_BYTES)))
                connection.sendall(dump(answer))
            except (OSError, ValueError, KeyError) as error:
                _log.warning("a request was not answered: %s: %s", type(error).__name__, error)

    def _respond(self, request: dict[str, Any]) -> dict[str, Any]:
        if "launch" in request:
            return self._launch(str(request["launch"]), str(request["instance"]), str(request["location"]))
        if "holds" in request:
            is_ours = any(worker.process.pid == request["pid"] for worker in self._workers)
            return {"holds": self._executing(request["holds"]) is not None if is_ours else None}
        if "interrupt" in request:
            worker = self._executing(request["interrupt"])
            if worker is not None:
                worker.process.send_signal(signal.SIGINT)
            return {"interrupted": worker is not None}
        return {"workers": len(self._workers), "idle": sum(worker.run_id is None for worker in self._workers)}

    def _executing(self, run_id: object) -> Worker | None:
        return next((worker for worker in self._workers if worker.run_id == run_id), None)

    def _launch(self, run_id: str, instance: str, location: str) -> dict[str, Any]:
        idle = [worker for worker in self._workers if worker.run_id is None]
        idle.sort(key=lambda worker: location not in worker.locations)
        while idle:
            worker = idle.pop(0)
            try:
                if not worker.is_worn:
                    worker.give(run_id, instance, location)
                    return {"pid": worker.process.pid, "started": worker.started}
            except OSError:
                _log.warning("worker %d was gone", worker.process.pid)
            self._drop(worker)
        if len(self._workers) >= MOST_WORKERS:
            return {"refused": f"all {MOST_WORKERS} workers have a run"}
        worker = self._add()
        worker.give(run_id, instance, location)
        return {"pid": worker.process.pid, "started": worker.started}

    def _add(self) -> Worker:
        worker = Worker(self._preload)
        self._workers.append(worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        return worker

    def _drop(self, worker: Worker) -> None:
        self._selector.unregister(worker.channel)
        self._workers.remove(worker)
        worker.retire()
        self._leaving.append(worker.process)

    def _tidy(self) -> None:
        """Keep one worker warm, let others go after a quiet time, and collect the exit codes of those gone."""
        self._leaving = [process for process in self._leaving if process.poll() is None]
        for worker in list(self._workers):
            quiet = worker.run_id is None and time.monotonic() - worker.idle_since > IDLE_SECONDS
            if quiet and len(self._workers) > 1:
                self._drop(worker)
        if not self._workers and time.monotonic() > self._began + FIRST_AFTER_SECONDS:
            self._add()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the host until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument(
        "--preload", default="orchestration.realtime", help="module with the definitions most runs need"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host = RunHost(options.socket, options.preload)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: host.stop())
    host.serve()


if __name__ == "__main__":
    main()
