"""What `tally demo` does besides starting the stack: its own folder and ports, two simulated days, a live stream.

Belongs here: preparing and feeding a demo stack. Does not belong here: display (`orchestration.cli.demo`), the stack.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from orchestration.settings import DEFAULT_HOME, SETTINGS_FILE, Settings
from orchestration.stack import leftovers
from orchestration.stack.errors import StackError
from orchestration.stack.home import moved_ports, remember
from orchestration.stack.lifecycle import is_running
from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, Truth
from streaming.simulator.run import HttpSink, history, live

SEED = 7
HISTORY = timedelta(days=2)
HISTORY_RATE = 0.8
"""Events a second over the simulated days: about 140,000 in all, ten seconds of loading on two free cores."""

LIVE_RATE = 300.0
_PORTS = (
    *("clickhouse_port", "redis_port", "collector_port", "api_port"),
    *("dagster_port", "realtime_grpc_port", "batch_grpc_port"),
)


def demo_home() -> Path:
    """`TALLY_HOME` when it is set, else `data/demo`: the demo's events never mix with one's own."""
    return Path(os.environ.get("TALLY_HOME") or DEFAULT_HOME / "demo").expanduser().resolve()


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home's demo lock; it ends with the process, however that ends. Raises StackError when it is taken."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"a demo already runs in {home} (pid {file.read().strip() or 'unknown'}): end it with Ctrl-C there, "
                "or give this one another folder with TALLY_HOME"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def demo_settings(home: Path) -> Settings:
    """Settings of the demo's stack. Ports that something else uses are moved, and the folder remembers where to.

    It remembers ports of the environment too: commands in another terminal find the stack by its folder alone.

    A stack that runs in this folder keeps its ports; what a crashed one left behind is ended first.
    """
    settings = Settings(home=home)
    if is_running(settings):
        return settings
    leftovers.end(leftovers.members(home))
    given = {name: getattr(settings, name) for name in _PORTS if name in settings.model_fields_set}
    ports = {f"TALLY_{name.upper()}": str(port) for name, port in given.items()} | moved_ports(settings, _PORTS)
    if ports:
        remember(home / SETTINGS_FILE, ports)
    return Settings(home=home)


def history_range(now: datetime) -> tuple[datetime, datetime]:
    """The last two days up to the last full hour, UTC."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return end - HISTORY, end


def send_history(
    settings: Settings, start: datetime, end: datetime, on_progress: Callable[[int], None], rate: float = HISTORY_RATE
) -> Truth:
    """Post the simulated days to the collector; returns what the numbers must be."""
    truth = Truth()
    network = SimulatedNetwork(SimulationConfig(seed=SEED, rate=rate, window_seconds=600))
    sink = collector_sink(settings, batch_rows=5000)
    try:
        history(network, FaultRates(), start, end, sink, truth=truth, on_progress=lambda rows, _: on_progress(rows))
    finally:
        sink.close()
    return truth


PLANTED_TREND = "eclipse"
PLANTED_SPAM = "buy_now"


def plant_trends(settings: Settings, now: datetime) -> None:
    """Post as forty people about one topic, and as one bot, three hundred times, with six people about another."""
    posts = [(f"p{number}", PLANTED_TREND) for number in range(40)]
    posts += [(f"p{number}", PLANTED_SPAM) for number in range(6)] + [("bot", PLANTED_SPAM)] * 300
    rows = [
        orjson.dumps(
            {
                "event_id": str(uuid.uuid4()),
                "type": "post.created",
                "network": "sim",
                "actor": actor,
                "topics": [topic],
                "occurred_at": (now - timedelta(milliseconds=number)).isoformat(),
            }
        )
        for number, (actor, topic) in enumerate(posts)
    ]
    sink = collector_sink(settings)
    try:
        sink(rows)
    finally:
        sink.close()


class LiveStream:
    """Events as they happen, posted by a thread until `stop`. `failure` names what ended it early."""

    def __init__(self, settings: Settings, rate: float = LIVE_RATE) -> None:
        self.sent = 0
        self.failure = ""
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._sink = collector_sink(settings, batch_rows=2000)
        self._network = SimulatedNetwork(SimulationConfig(seed=SEED, rate=rate))
        self._thread = threading.Thread(target=self._run, name="live-stream", daemon=True)

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    @property
    def rate(self) -> float:
        """Events a second since the start."""
        return self.sent / max(0.001, time.monotonic() - self._began)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)
        self._sink.close()

    def _run(self) -> None:
        try:
            live(self._network, FaultRates(), self._send)
        except _StoppedError:
            pass
        except Exception as error:  # a thread's exception would otherwise be lost
            if not self._stop.is_set():
                self.failure = f"{type(error).__name__}: {error}"

    def _send(self, rows: list[bytes], /) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._sink(rows)
        self.sent += len(rows)


class _StoppedError(Exception):
    """Ends the live loop from inside its sink."""


def collector_sink(settings: Settings, batch_rows: int = 2000) -> HttpSink:
    """Return a sink that posts to this stack's collector with its first write key."""
    key = settings.write_keys.get_secret_value().split(",")[0].partition("=")[2].strip()
    return HttpSink(f"http://{settings.collector_host}:{settings.collector_port}", key, batch_rows=batch_rows)
