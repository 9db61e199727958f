"""A warm worker: imports the definitions once and executes one run after the other, as the run host hands them over.

Belongs here: receiving a run, executing it as Dagster's own run process does. Does not belong here: choosing it.

Before each run the worker looks whether a file of ours that it has imported changed since; then it starts itself anew
in the same process id, so that a run never executes yesterday's code.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestration.runs.protocol import dump, load
from orchestration.settings import PROJECT_ROOT

_log = logging.getLogger("tally.run_worker")


def execute(run_id: str, instance: str) -> None:
    """Execute a run of the instance with this reference; its failure is recorded in Dagster, not raised here."""
    from dagster import DagsterInstance
    from dagster._cli.api import _execute_run_command_body
    from dagster._core.instance.ref import InstanceRef
    from dagster._serdes import deserialize_value
    from dagster._utils.interrupts import capture_interrupts

    with capture_interrupts(), DagsterInstance.from_ref(deserialize_value(instance, InstanceRef)) as opened:
        _execute_run_command_body(run_id, opened, lambda _event: None, set_exit_code_on_failure=False)


def serve(channel: socket.socket, preload: str, first_order: str | None) -> None:
    """Execute runs until the host closes the channel."""
    began = time.time()
    importlib.import_module(preload).defs.get_repository_def().get_all_jobs()
    for line in _orders(channel, first_order):
        if first_order is None and _newest_change() > began:
            _start_anew(channel, preload, line)
        first_order = None
        order = load(line)
        try:
            execute(str(order["run_id"]), str(order["instance"]))
        except (Exception, SystemExit):
            # The run's own errors are in its log; this is one of the machinery, and the next run must not suffer.
            _log.exception("run %s", order["run_id"])
        try:
            channel.sendall(dump({"finished": order["run_id"]}))
        except OSError:
            return  # the host is gone, and with it whoever could ask for another run


def _orders(channel: socket.socket, first: str | None) -> Iterator[bytes]:
    if first is not None:
        yield first.encode()
    with channel.makefile("rb") as lines:
        yield from lines


def _newest_change() -> float:
    """When a file of ours that this process has imported was last written, in seconds since the epoch."""
    newest = 0.0
    root = f"{PROJECT_ROOT}{os.sep}"
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and path.startswith(root) and f"{os.sep}site-packages{os.sep}" not in path:
            try:
                newest = max(newest, Path(path).stat().st_mtime)
            except FileNotFoundError:
                return time.time()
    return newest


def _start_anew(channel: socket.socket, preload: str, order: bytes) -> None:
    os.set_inheritable(channel.fileno(), True)
    arguments = ["--channel", str(channel.fileno()), "--preload", preload, "--order", order.decode()]
    os.execv(sys.executable, [sys.executable, "-m", "orchestration.runs.worker", *arguments])  # noqa: S606 - ourselves


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the run host at the other end of the channel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", type=int, required=True, help="number of an open socket")
    parser.add_argument("--preload", required=True, help="module whose `defs` are loaded before the first run")
    parser.add_argument("--order", help="a run to begin with, as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with socket.socket(fileno=options.channel) as channel:
        serve(channel, options.preload, options.order)


if __name__ == "__main__":
    main()
