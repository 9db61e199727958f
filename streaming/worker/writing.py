"""What the runner asks of a writer, and the thread in which a writer works.

Belongs here: the interface of the two groups' writers. Does not belong here: the writers (`live`, `raw`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from resources.event_log.base import TopicPartition
from streaming.worker.decode import DecodedBatch


@dataclass(frozen=True, slots=True)
class Written:
    """Verdicts of one batch. `stored + duplicate + quarantined + seen_again` is its number of messages."""

    stored: int
    duplicate: int
    quarantined: int
    seen_again: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    watermarks: dict[TopicPartition, int] = field(default_factory=dict)  # largest event_time per partition, ms


class Writer(Protocol):
    """Writes whole batches. Repeating a batch with the same token changes nothing.

    Both methods wait as long as the store is down, and raise StoppedError when told to stop meanwhile.
    """

    announces: bool  # whether batches must be announced before they are written

    def write(self, batch: DecodedBatch, token: str, *, recovering: bool) -> Written:
        """Return when durable. `recovering`: the batch was announced, and perhaps half written, in another life."""
        ...

    def reached(self) -> dict[TopicPartition, int]:
        """The largest offset per partition that has a verdict; needed of writers that announce."""
        ...

    def close(self) -> None: ...


T = TypeVar("T")


class WriterThread:
    """Runs one write at a time beside the polling thread. A daemon: a hanging store cannot keep the process alive."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._tasks.put((future, task))
        return future

    def close(self) -> None:
        self._tasks.put(None)

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)
