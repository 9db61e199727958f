"""What a task of the publisher can rely on: its pace, other tasks' failures, a report, an end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from streaming.publisher.runner import Publisher
from streaming.worker.stats import read_stats


@dataclass
class Counting:
    """Fails until `healthy` is set."""

    name: str
    every_seconds: float = 0.02
    healthy: threading.Event = field(default_factory=threading.Event)
    runs: list[datetime] = field(default_factory=list)
    together: int = 0
    overlap: int = 0

    def run(self, now: datetime) -> None:
        self.together += 1
        self.overlap = max(self.overlap, self.together)
        try:
            self.runs.append(now)
            if not self.healthy.is_set():
                raise ConnectionError("the store is down")
        finally:
            self.together -= 1


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute"
        time.sleep(0.01)


@contextmanager
def running(publisher: Publisher, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=publisher.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def test_a_failing_task_is_tried_again_told_once_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    well, ill, stop = Counting("well"), Counting("ill"), threading.Event()
    well.healthy.set()
    publisher = Publisher([well, ill], stop, tmp_path / "run" / "publisher.json")
    with caplog.at_level(logging.WARNING), running(publisher, stop):
        until(lambda: publisher.stats.tasks["ill"].failures >= 3 and publisher.stats.tasks["well"].runs >= 3)
        until(
            lambda: "the store is down" in ((read_stats(tmp_path / "run" / "publisher.json") or {}).get("problem", ""))
        )
        ill.healthy.set()
        until(lambda: publisher.stats.tasks["ill"].runs >= 2)
    told = [record.message for record in caplog.records if "task ill" in record.message]
    assert len(told) == 2
    assert "ConnectionError: the store is down" in told[0]
    assert "is back" in told[1]
    report = read_stats(tmp_path / "run" / "publisher.json")
    assert report is not None
    assert (report["state"], report["problem"]) == ("stopped", "")
    assert report["tasks"]["well"]["failures"] == 0
    assert all(moment.utcoffset() == timedelta(0) for moment in well.runs)


def test_a_slow_task_never_runs_twice_at_once() -> None:
    class Slow(Counting):
        def run(self, now: datetime) -> None:
            self.together += 1
            self.overlap = max(self.overlap, self.together)
            time.sleep(0.05)
            self.together -= 1
            self.runs.append(now)

    slow, stop = Slow("slow", every_seconds=0.001), threading.Event()
    with running(Publisher([slow], stop), stop):
        until(lambda: len(slow.runs) >= 4)
    assert slow.overlap == 1


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tasks of the publisher have one name: a, a"):
        Publisher([Counting("a"), Counting("a")], threading.Event())
