"""The servers themselves: they answer, come back after a kill with their data, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.servers import ServerError
from deploy.servers.process import Server
from deploy.servers.ready import Ready
from resources.event_log import LogUnavailableError, TopicSpec, open_event_log

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", ["kafka", "mongodb", "redis", "postgresql", "s3"])
def test_a_server_comes_back_after_a_kill_and_stops(start_server: Any, name: str) -> None:
    server: Server = start_server(name)
    first = server.pid
    server.kill()
    assert not server.running
    server.start()
    assert server.pid != first
    server.stop()
    assert not server.running


def test_a_broker_keeps_what_it_acknowledged_and_a_paused_one_answers_later(
    start_server: Any, unique: Callable[[], str]
) -> None:
    broker: Server = start_server("kafka")
    log = open_event_log(broker.url, timeout=10.0)
    topic = unique()
    log.create_topics([TopicSpec(topic, 1)])
    log.append(topic, [b"k"], [b"before"])
    broker.kill()
    broker.start()
    assert log.watermarks(topic) == {0: (0, 1)}
    broker.pause()
    impatient = open_event_log(broker.url, timeout=1.0)
    with pytest.raises(LogUnavailableError):
        impatient.ping()
    impatient.close()
    broker.resume()
    log.append(topic, [b"k"], [b"after"])
    assert log.watermarks(topic) == {0: (0, 2)}
    log.close()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    def ask() -> None:
        raise ConnectionError

    broken = [sys.executable, "-c", "raise SystemExit('the disk is full')"]
    server = Server("broken", tmp_path, 1, lambda: broken, Ready("nothing", ask), url="x://")
    with pytest.raises(ServerError, match="the disk is full"):
        server.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_no_server_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from deploy.servers import redis\n"
        "server = redis.server(pathlib.Path(sys.argv[1])).start(); print(server.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
