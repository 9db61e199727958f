"""Load many sources at once; one that hangs or fails is reported and fails alone.

Belongs here: concurrency, time limits and the report. Does not belong here: what a source reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Something to load, by name. `load` runs in a thread of its own and may take any time."""

    name: str
    load: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """The outcome of one source: a value, or an error of which the text says what happened."""

    source: Source[T]
    seconds: float
    value: T | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


def load_all(sources: Sequence[Source[T]], timeout: float, workers: int = 8) -> Iterator[Loaded[T]]:
    """Yield each source's outcome as it comes, at most `workers` loading at a time.

    A source's clock starts when its loading starts. One that is not done after `timeout` seconds is reported as failed
    and its place given to the next; its thread is a daemon and ends with the process, because Python cannot stop a
    thread that waits inside a library. A late answer of such a thread is thrown away.
    """
    outcomes: SimpleQueue[tuple[int, Loaded[T]]] = SimpleQueue()
    started: dict[int, float] = {}
    waiting = list(range(len(sources)))[::-1]

    def run(index: int) -> None:
        source, began = sources[index], time.monotonic()
        try:
            outcome = Loaded(source, 0.0, value=source.load())
        except Exception as error:
            outcome = Loaded(source, 0.0, error=f"{type(error).__name__}: {error}")
        outcomes.put((index, Loaded(source, time.monotonic() - began, outcome.value, outcome.error)))

    while waiting or started:
        while waiting and len(started) < workers:
            index = waiting.pop()
            started[index] = time.monotonic()
            threading.Thread(target=run, args=(index,), name=f"load-{sources[index].name}", daemon=True).start()
        patience = min(started.values()) + timeout - time.monotonic()
        try:
            index, outcome = outcomes.get(timeout=max(patience, 0.0))
        except Empty:
            now = time.monotonic()
            for index in [i for i, began in started.items() if now - began >= timeout]:
                del started[index]
                yield Loaded(sources[index], timeout, error=f"no answer within {timeout:g} s")
        else:
            if started.pop(index, None) is not None:
                yield outcome
