"""What both event logs promise when processes are killed, stopped, or many at once, and when the log is away."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from resources.event_log import Commit, EventLog, LogUnavailableError, OffsetRange, TopicPartition

if TYPE_CHECKING:
    from conftest import MockCluster, Place

Group = Callable[[], str]


def heard(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"the child ended with {child.wait()}"
    facts: dict[str, Any] = json.loads(line)
    return facts


def tell(child: subprocess.Popen[str], command: str) -> None:
    assert child.stdin is not None
    child.stdin.write(command + "\n")
    child.stdin.flush()


def contents(log: EventLog, topic: str) -> dict[tuple[int, int], str]:
    """Value by partition and offset; fails unless the offsets of each partition are contiguous."""
    found = {}
    for partition, (low, high) in log.watermarks(topic).items():
        chunks = list(log.read([OffsetRange(topic, partition, low, high)]))
        assert [offset for chunk in chunks for offset in chunk.offsets] == list(range(low, high))
        for chunk in chunks:
            for offset, value in zip(chunk.offsets, chunk.values, strict=True):
                found[partition, offset] = (value or b"").decode()
    return found


def test_threads_append_at_once_without_gaps_or_doubles(place: Place) -> None:
    topic = place.topic()
    told: dict[tuple[int, int], str] = {}

    def append(name: int) -> None:
        for batch in range(15):
            values = [f"{name}:{batch}:{number}" for number in range(10)]
            encoded = [value.encode() for value in values]
            appended = place.log.append(topic, encoded, encoded)
            told.update(zip(zip(appended.partitions, appended.offsets, strict=True), values, strict=True))

    threads = [threading.Thread(target=append, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 8 * 15 * 10
    assert contents(place.log, topic) == told


def test_processes_append_at_once_without_gaps_or_doubles(place: Place) -> None:
    topic = place.topic()
    children = [place.child("append", topic, f"p{name}", 20, 50) for name in range(3)]
    told: dict[tuple[int, int], str] = {}
    for name, child in enumerate(children):
        for batch in range(20):
            facts = heard(child)
            places = zip(facts["partitions"], facts["offsets"], strict=True)
            told.update({at: f"p{name}:{batch}:{number}" for number, at in enumerate(places)})
        assert child.wait(60) == 0
    assert contents(place.log, topic) == told


@pytest.mark.parametrize("seed", range(2))
def test_what_was_acknowledged_is_there_after_the_appending_process_is_killed(place: Place, seed: int) -> None:
    topic = place.topic()
    child = place.child("append", topic, "victim", 100_000, 100)
    told: dict[tuple[int, int], str] = {}
    for batch in range(5 + 7 * seed):
        facts = heard(child)
        places = zip(facts["partitions"], facts["offsets"], strict=True)
        told.update({at: f"victim:{batch}:{number}" for number, at in enumerate(places)})
    child.send_signal(signal.SIGKILL)
    child.wait()

    found = contents(place.log, topic)
    assert found.items() >= told.items()
    assert len(set(found.values())) == len(found)
    before = place.log.watermarks(topic)
    after = place.log.append(topic, [b"next"], [b"next"])
    assert after.offsets[0] == before[after.partitions[0]][1]


def test_the_partitions_of_a_killed_member_are_taken_over(place: Place, group: Group) -> None:
    topic, name = place.topic(1), group()
    place.log.append(topic, [b"k"] * 6, [str(number).encode() for number in range(6)])
    child = place.child("member", name, topic)
    for expected in ("0", "1"):
        tell(child, "poll")
        assert heard(child) == {"values": [expected], "partition": 0}
        tell(child, "commit")
        assert heard(child) == {"committed": True}
    tell(child, "poll")
    assert heard(child)["values"] == ["2"]
    child.send_signal(signal.SIGKILL)
    child.wait()
    killed_at = time.monotonic()

    survivor = place.join(name, [topic])
    found: list[bytes | None] = []
    while not found:
        assert time.monotonic() - killed_at < place.session_timeout * 2 + 30
        found = [value for chunk in survivor.poll(1, 0.2) for value in chunk.values]
    assert found == [b"2"]
    assert survivor.committed([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): Commit(2, "child")}


def test_a_member_that_was_stopped_for_too_long_cannot_commit(place: Place, group: Group) -> None:
    topic, name = place.topic(1), group()
    place.log.append(topic, [b"k"] * 4, [str(number).encode() for number in range(4)])
    child = place.child("member", name, topic)
    tell(child, "poll")
    assert heard(child)["values"] == ["0"]
    child.send_signal(signal.SIGSTOP)
    successor = place.join(name, [topic])
    deadline = time.monotonic() + place.session_timeout * 2 + 30
    taken: list[bytes | None] = []
    while len(taken) < 4:
        assert time.monotonic() < deadline
        taken += [value for chunk in successor.poll(10, 0.2) for value in chunk.values]
    assert taken == [b"0", b"1", b"2", b"3"]
    successor.commit({TopicPartition(topic, 0): Commit(4, "successor")})

    child.send_signal(signal.SIGCONT)
    tell(child, "commit")
    assert "no longer owns" in heard(child)["fenced"]
    assert place.log.group_commits(name) == {TopicPartition(topic, 0): Commit(4, "successor")}


def test_a_member_keeps_its_partitions_while_it_works_for_longer_than_a_session(place: Place, group: Group) -> None:
    topic, name = place.topic(1), group()
    members = [place.join(name, [topic]), place.join(name, [topic])]
    while sum(len(member.assignment()) for member in members) != 1:  # both are in before the work begins
        assert [member.poll(10, 0.1) for member in members] == [[], []]
    place.log.append(topic, [b"k"] * 2, [b"v"] * 2)
    other, worker = sorted(members, key=lambda member: len(member.assignment()))
    while not worker.poll(10, 0.1):
        pass
    busy_until = time.monotonic() + place.session_timeout * 1.6
    while time.monotonic() < busy_until:
        assert other.poll(10, 0.1) == []
    worker.commit({TopicPartition(topic, 0): Commit(2)})
    assert place.log.group_commits(name) == {TopicPartition(topic, 0): Commit(2)}


@contextmanager
def away(place: Place, request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the log not answer for a while."""
    if place.kind == "sqlite":
        import sqlite3

        blocker = sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        yield
        blocker.close()
    elif place.kind == "kafka-mock":
        cluster: MockCluster = request.getfixturevalue("mock_cluster")
        cluster.set_up(up=False)
        yield
        cluster.set_up(up=True)
    else:
        pytest.skip("a real broker is not ours to stop")


def test_a_log_that_does_not_answer_is_unavailable_and_then_goes_on(
    place: Place, request: pytest.FixtureRequest
) -> None:
    topic = place.topic()
    # Five seconds: a producer on a busy machine may need more than one to connect.
    options: dict[str, float] = {"busy_timeout": 0.3} if place.kind == "sqlite" else {"timeout": 5.0}
    log = place.open(**options)
    log.append(topic, [b"k"], [b"before"])
    with away(place, request), pytest.raises(LogUnavailableError, match=re.escape(f"{place.url}: append")):
        log.append(topic, [b"k"], [b"during"])

    told = False
    for attempt in range(30):
        try:
            log.append(topic, [b"k"], [f"after {attempt}".encode()])
            told = True
            break
        except LogUnavailableError:
            continue
    assert told
    values = list(contents(log, topic).values())
    assert values[0] == "before"
    assert values[-1] == f"after {attempt}"
    assert len(values) == len(set(values))
