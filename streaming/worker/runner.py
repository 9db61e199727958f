"""The worker's loop: poll, announce, write, commit; recover what another life announced; drain when told to stop.

Belongs here: the order of these steps, which is what makes writing effectively once. Does not belong here: what a batch
becomes in a store (`live`, `raw`).

While one batch is written in a thread, the next one is polled and decoded. One commit closes the batch before (its end
offsets) and announces the next (its start offsets, with the announcement as metadata). A commit is accepted from the
partition's owner only, so a worker that lost a partition can repeat at most what it announced, under the same token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from typing import TypeVar

from contracts.event_types import TOPICS
from resources.crashpoints import crashpoint
from resources.event_log.base import (
    Commit,
    Consumer,
    EventLog,
    EventLogError,
    FencedError,
    LogUnavailableError,
    Messages,
    TopicPartition,
)
from streaming.worker.announcement import Announcement
from streaming.worker.batch import Assembler, Batch, batch_of
from streaming.worker.config import WorkerConfig
from streaming.worker.decode import DecodedBatch, decode_batch
from streaming.worker.progress import Progress
from streaming.worker.retry import Backoff, StoppedError
from streaming.worker.writing import Writer, WriterThread, Written

_log = logging.getLogger(__name__)

_NAP = 0.02  # between looks at the log while a batch gathers or is being written
_IDLE_POLL = 0.5
_SETTLED = 15.0  # seconds after which a membership that ended was a good one: the next attempt comes at once
_TRICKLE = 500  # a poll that brought fewer messages has emptied the log: give the batch time to fill


T = TypeVar("T")


@dataclass(slots=True)
class _Ready:
    """A batch that is decoded but not announced: letting go of it costs nothing."""

    batch: Batch
    decoded: DecodedBatch


@dataclass(slots=True)
class _InFlight:
    """A batch that is announced and being written."""

    batch: Batch
    future: Future[Written]


class Worker:
    """One member of a group. `run` returns when `stop` is set, within `drain_timeout` seconds and a bit."""

    def __init__(
        self,
        config: WorkerConfig,
        event_log: EventLog,
        writer: Writer,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._config = config
        self._event_log = event_log
        self._writer = writer
        self._progress = progress
        self._stop = stop
        self._thread = WriterThread(f"write-{config.group}")
        self._assembler = Assembler(config.max_batch_rows, config.max_batch_bytes, config.linger)
        self._positions: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._ready: _Ready | None = None
        self._in_flight: _InFlight | None = None
        self._rebalanced = False
        self._trickles = False

    def run(self) -> None:
        """Work until told to stop. A log that is down, or membership lost, begins a new session; nothing is lost."""
        backoff = Backoff()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._session()
            except StoppedError:
                break
            except FencedError as error:
                # Two members under one name fence each other: without a pause they would do nothing else.
                _log.warning("group %s: lost its partitions, joining again: %s", self._config.group, error)
                self._stop.wait(backoff.next_delay())
            except LogUnavailableError as error:
                self._progress.problem(f"event log is not available: {error}")
                self._stop.wait(backoff.next_delay())
            if time.monotonic() - began > _SETTLED:
                backoff = Backoff()
        self._thread.close()
        self._progress.state("stopped")

    # -- one membership ----------------------------------------------------------------------------------------------

    def _session(self) -> None:
        self._forget()
        consumer = self._event_log.consumer(
            self._config.group,
            TOPICS,
            member_id=self._config.member_id,
            on_assign=lambda _partitions: self._mark_rebalanced(),
            on_revoke=lambda partitions: self._hand_over(consumer, partitions),
        )
        try:
            self._progress.problem("")
            while not self._stop.is_set():
                self._step(consumer)
                self._progress.tick(self._event_log, self._positions)
            self._drain(consumer)
        finally:
            self._leave(consumer)

    def _forget(self) -> None:
        """Begin without anything in memory. A write still going on may finish: it is announced."""
        if self._in_flight is not None:
            wait_for_futures([self._in_flight.future])
        self._in_flight = None
        self._ready = None
        self._assembler.clear()
        self._positions.clear()
        self._rebalanced = True

    def _leave(self, consumer: Consumer) -> None:
        try:
            consumer.close()
        except EventLogError as error:
            _log.warning("group %s: leaving failed, the others will notice: %s", self._config.group, error)

    def _mark_rebalanced(self) -> None:
        self._rebalanced = True

    def _step(self, consumer: Consumer) -> None:
        self._poll(consumer)
        if self._ready is None and self._assembler.ready():
            self._ready = self._decode(self._assembler.take(self._positions))
        if self._in_flight is not None and (self._in_flight.future.done() or self._ready is not None):
            wait_for_futures([self._in_flight.future], timeout=_NAP)
        if self._in_flight is None or self._in_flight.future.done():
            self._advance(consumer)

    def _poll(self, consumer: Consumer) -> None:
        """Take messages without waiting longer than the state allows, and settle after a rebalance."""
        room = 0 if self._ready is not None else self._assembler.room()
        gathering = self._assembler.rows > 0
        if self._trickles and gathering and room:
            self._nap(min(_NAP, self._assembler.remaining_linger()))
        idle = not gathering and room > 0
        started = time.perf_counter()
        polled = consumer.poll(room, 0.0 if not idle else _NAP if self._in_flight is not None else _IDLE_POLL)
        if polled:
            self._progress.step("poll", time.perf_counter() - started)
        self._trickles = sum(map(len, polled)) < _TRICKLE
        if self._rebalanced:
            self._settle(consumer)
            return
        self._assembler.add(self._expected(piece) for piece in polled)

    def _nap(self, seconds: float) -> None:
        if self._in_flight is not None:
            wait_for_futures([self._in_flight.future], timeout=seconds)
        else:
            self._stop.wait(seconds)

    def _expected(self, piece: Messages) -> Messages:
        """Say so when the log skips offsets between the group's position and what it delivers."""
        place = TopicPartition(piece.topic, piece.partition)
        expected = self._positions.get(place)
        if self._ready is not None:  # decoded and not yet announced: the group's position is about to be its end
            ends = {TopicPartition(r.topic, r.partition): r.end for r in self._ready.batch.ranges}
            expected = ends.get(place, expected)
        if expected is not None and piece.offsets and not self._assembler.holds(place) and piece.offsets[0] > expected:
            self._progress.gap(place, expected, piece.offsets[0])
        return piece

    def _decode(self, batch: Batch) -> _Ready:
        started = time.perf_counter()
        decoded = decode_batch(batch)
        self._progress.step("decode", time.perf_counter() - started)
        return _Ready(batch, decoded)

    def _advance(self, consumer: Consumer) -> None:
        """Close the batch that was written, announce the next and hand it to the writer; one commit for both."""
        commits: dict[TopicPartition, Commit] = {}
        done = self._in_flight
        if done is not None:
            written = done.future.result()
            commits = {TopicPartition(r.topic, r.partition): Commit(r.end) for r in done.batch.ranges}
        ready, token = self._ready, ""
        if ready is not None:
            is_replay = any(
                r.start <= self._reached.get(TopicPartition(r.topic, r.partition), -1) for r in ready.batch.ranges
            )
            announcement = Announcement.of(ready.batch.ranges, is_replay=is_replay)
            token = announcement.token
            if self._writer.announces:
                metadata = announcement.encode()
                for place in ready.batch.ranges:
                    commits[TopicPartition(place.topic, place.partition)] = Commit(place.start, metadata)
        if commits:
            crashpoint("worker.before_commit")
            started = time.perf_counter()
            consumer.commit(commits)
            self._progress.step("commit", time.perf_counter() - started)
            crashpoint("worker.after_commit")
        if done is not None:
            self._in_flight = None
            self._progress.written(done.batch, written)
        if ready is not None:
            if self._writer.announces:
                crashpoint("worker.after_announce")
            self._positions.update({TopicPartition(r.topic, r.partition): r.end for r in ready.batch.ranges})
            self._ready = None
            decoded = ready.decoded
            self._in_flight = _InFlight(ready.batch, self._submit(decoded, token, recovering=False))

    def _submit(self, decoded: DecodedBatch, token: str, *, recovering: bool) -> Future[Written]:
        def task() -> Written:
            written = self._writer.write(decoded, token, recovering=recovering)
            crashpoint("worker.after_write")
            return written

        return self._thread.submit(task)

    # -- rebalances and recovery -------------------------------------------------------------------------------------

    def _settle(self, consumer: Consumer) -> None:
        """After the assignment changed: begin again from the group's commits, and finish what is announced there."""
        self._rebalanced = False
        self._finish(consumer, self._wait_for)
        self._ready = None
        self._assembler.clear()
        assigned = consumer.assignment()
        if assigned:
            crashpoint("worker.settling")
        commits = consumer.committed(sorted(assigned))
        self._positions = self._starts(assigned, commits)
        if self._writer.announces:
            self._reached = self._wait_for(self._thread.submit(self._writer.reached))
        finished: set[str] = set()
        for place in sorted(assigned):
            announcement = self._announced(place, commits.get(place))
            if announcement is not None and announcement.token not in finished:
                finished.add(announcement.token)
                self._recover(consumer, announcement, assigned, commits)
        for place in sorted(assigned):
            consumer.seek(place, self._positions[place])

    def _starts(
        self, assigned: set[TopicPartition], commits: dict[TopicPartition, Commit]
    ) -> dict[TopicPartition, int]:
        lows = {topic: self._event_log.watermarks(topic) for topic in {place.topic for place in assigned}}
        return {
            place: commits[place].offset if place in commits else lows[place.topic][place.partition][0]
            for place in assigned
        }

    def _announced(self, place: TopicPartition, commit: Commit | None) -> Announcement | None:
        if commit is None or not self._writer.announces:
            return None
        try:
            announcement = Announcement.decode(commit.metadata)
        except ValueError as error:
            _log.error("group %s, %s/%d: %s; going on without it", self._config.group, *place, error)
            return None
        if announcement is None or not any(
            (r.topic, r.partition, r.start) == (*place, commit.offset) for r in announcement.ranges
        ):
            return None
        return announcement

    def _recover(
        self,
        consumer: Consumer,
        announcement: Announcement,
        assigned: set[TopicPartition],
        commits: dict[TopicPartition, Commit],
    ) -> None:
        """Write an announced batch again under its token, whole, and commit the ends of those partitions we own."""
        batch = batch_of(self._event_log.read(announcement.ranges), announcement.ranges)
        _log.warning(
            "group %s: writing announced batch %s again: %d rows", self._config.group, announcement.token, batch.rows
        )
        recovering = not announcement.is_replay
        written = self._wait_for(self._submit(decode_batch(batch), announcement.token, recovering=recovering))
        ends = {
            TopicPartition(r.topic, r.partition): Commit(r.end)
            for r in announcement.ranges
            if (place := TopicPartition(r.topic, r.partition)) in assigned
            and place in commits
            and commits[place].offset == r.start
        }
        crashpoint("worker.before_recovery_commit")
        consumer.commit(ends)
        self._positions.update({place: commit.offset for place, commit in ends.items()})
        self._progress.recovered(batch, written)

    def _hand_over(self, consumer: Consumer, partitions: set[TopicPartition]) -> None:
        """Partitions are being taken away: finish the batch if it can be done soon; if not, the new owner will."""
        self._rebalanced = True
        self._ready = None
        self._assembler.clear()
        crashpoint("worker.handing_over")
        try:
            self._finish(consumer, lambda future: self._wait_at_most(future, self._config.drain_timeout))
        except (FencedError, StoppedError) as error:
            _log.info(
                "group %s: %d partitions go without a last commit: %s", self._config.group, len(partitions), error
            )
            self._in_flight = None

    def _finish(self, consumer: Consumer, wait: Callable[[Future[Written]], object]) -> None:
        """Close the batch in flight, when `wait` lets it end; a write that did not end stays announced."""
        if self._in_flight is None:
            return
        wait(self._in_flight.future)
        if self._in_flight.future.done():
            self._ready = None
            self._advance(consumer)
        else:
            self._in_flight = None

    def _wait_for(self, future: Future[T]) -> T:
        """Wait for the writer's thread as long as it takes; told to stop, `drain_timeout` more. Raises StoppedError."""
        while not future.done():
            if self._stop.is_set():
                self._wait_at_most(future, self._config.drain_timeout)
                if not future.done():
                    raise StoppedError("stopped while the store was busy; what is announced stays announced")
                break
            wait_for_futures([future], timeout=0.1)
            self._progress.tick(self._event_log, self._positions)
        return future.result()

    def _wait_at_most(self, future: Future[T], seconds: float) -> None:
        wait_for_futures([future], timeout=seconds)

    def _drain(self, consumer: Consumer) -> None:
        """Stop cleanly: what is announced is finished if it can be; what is only polled is left to the next start."""
        self._progress.state("draining")
        self._ready = None
        self._assembler.clear()
        self._finish(consumer, lambda future: self._wait_at_most(future, self._config.drain_timeout))
        self._progress.tick(self._event_log, self._positions, at_once=True)
