"""What both event logs promise about consumer groups: sharing, commits, order over rebalances, fencing."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from resources.event_log import Commit, Consumer, EventLogError, FencedError, Messages, TopicPartition

if TYPE_CHECKING:
    from conftest import Place

Group = Callable[[], str]


def take(consumer: Consumer, count: int, timeout: float = 60.0) -> list[Messages]:
    """Poll until `count` messages have come."""
    found: list[Messages] = []
    deadline = time.monotonic() + timeout
    while sum(map(len, found)) < count:
        assert time.monotonic() < deadline, f"{sum(map(len, found))} of {count} messages in {timeout} s"
        found += consumer.poll(count - sum(map(len, found)), 0.1)
    return found


def values(chunks: list[Messages]) -> list[bytes]:
    return sorted(value for chunk in chunks for value in chunk.values if value is not None)


def settle(done: Callable[[], bool], *consumers: Consumer, timeout: float = 60.0) -> None:
    """Let the members poll in turn, as their processes would, until `done`."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, [sorted(consumer.assignment()) for consumer in consumers]
        for consumer in consumers:
            # Positions are put back: what is polled here is not consumed.
            for chunk in consumer.poll(1, 0.02):
                consumer.seek(TopicPartition(chunk.topic, chunk.partition), chunk.offsets[0])


def test_a_group_without_commits_starts_at_the_low_watermark(place: Place, group: Group) -> None:
    topic = place.topic()
    sent = [f"{number:03}".encode() for number in range(100)]
    place.log.append(topic, sent, sent)
    consumer = place.join(group(), [topic])

    assert values(take(consumer, 100)) == sent
    assert consumer.poll(10, 0.05) == []
    assert consumer.assignment() == {TopicPartition(topic, partition) for partition in range(4)}
    assert consumer.committed(sorted(consumer.assignment())) == {}
    consumer.close()


def test_poll_respects_its_limit_and_returns_on_the_first_message(place: Place, group: Group) -> None:
    topic = place.topic(1)
    place.log.append(topic, [b"k"] * 50, [b"v"] * 50)
    consumer = place.join(group(), [topic])
    seen: list[int] = []
    while len(seen) < 50:
        chunks = consumer.poll(7, 5)
        assert 0 < sum(map(len, chunks)) <= 7
        seen += [offset for chunk in chunks for offset in chunk.offsets]
    assert seen == list(range(50))
    consumer.close()


def test_new_messages_are_seen_promptly(place: Place, group: Group) -> None:
    place.need("prompt fetches")
    topic = place.topic(1)
    consumer = place.join(group(), [topic])
    settle(lambda: bool(consumer.assignment()), consumer)
    other = place.open()
    other.append(topic, [b"k"], [b"warm"])
    take(consumer, 1)
    delays = []
    for _ in range(15):
        other.append(topic, [b"k"], [b"v"])
        durable = time.monotonic()
        take(consumer, 1)
        delays.append(time.monotonic() - durable)
    assert sorted(delays)[7] < 0.5
    consumer.close()


def test_commits_and_their_metadata_come_back(place: Place, group: Group) -> None:
    topic, name = place.topic(), group()
    place.log.append(topic, [f"{number}".encode() for number in range(100)], [b"v"] * 100)
    consumer = place.join(name, [topic])
    take(consumer, 100)
    commits = {
        TopicPartition(topic, 0): Commit(3, '{"batch": "šťastný"}'),
        TopicPartition(topic, 2): Commit(0, "x" * 4_000),
        TopicPartition(topic, 3): Commit(7),
    }
    consumer.commit(commits)

    assert consumer.committed([TopicPartition(topic, partition) for partition in range(4)]) == commits
    assert place.open().group_commits(name) == commits
    consumer.commit({TopicPartition(topic, 0): Commit(2, "back")})
    assert place.log.group_commits(name)[TopicPartition(topic, 0)] == Commit(2, "back")
    assert place.log.group_commits(group()) == {}
    consumer.close()


def test_metadata_over_4000_bytes_is_refused_and_nothing_committed(place: Place, group: Group) -> None:
    topic, name = place.topic(1), group()
    place.log.append(topic, [b"k"] * 5, [b"v"] * 5)
    consumer = place.join(name, [topic])
    take(consumer, 5)
    for metadata in ("x" * 4_001, "ž" * 2_001):
        with pytest.raises(EventLogError, match=r"metadata has 4,00\d bytes, the limit is 4,000"):
            consumer.commit({TopicPartition(topic, 0): Commit(5, metadata)})
    assert place.log.group_commits(name) == {}
    consumer.close()


def test_a_new_member_goes_on_where_the_group_committed(place: Place, group: Group) -> None:
    topic, name = place.topic(1), group()
    place.log.append(topic, [b"k"] * 20, [f"{number:02}".encode() for number in range(20)])
    first = place.join(name, [topic])
    take(first, 20)
    first.commit({TopicPartition(topic, 0): Commit(12, "so far")})
    first.close()

    second = place.join(name, [topic])
    assert values(take(second, 8)) == [f"{number:02}".encode() for number in range(12, 20)]
    assert second.poll(1, 0.05) == []
    second.close()
    other = place.join(group(), [topic])
    assert len(values(take(other, 20))) == 20
    other.close()


def test_two_members_share_the_partitions_and_one_inherits_from_the_other(place: Place, group: Group) -> None:
    topic, name = place.topic(), group()
    events: list[tuple[str, int]] = []
    first = place.join(
        name,
        [topic],
        on_assign=lambda places: events.append(("assign", len(places))),
        on_revoke=lambda places: events.append(("revoke", len(places))),
    )
    settle(lambda: len(first.assignment()) == 4, first)
    second = place.join(name, [topic])
    settle(lambda: len(first.assignment()) == len(second.assignment()) == 2, first, second)
    assert not first.assignment() & second.assignment()
    assert events == [("assign", 4), ("revoke", 2)]

    sent = [f"{number:02}".encode() for number in range(80)]
    place.log.append(topic, sent, sent)
    shares: dict[str, list[Messages]] = {"first": [], "second": []}
    deadline = time.monotonic() + 60
    while sum(len(chunk) for share in shares.values() for chunk in share) < 80 and time.monotonic() < deadline:
        shares["first"] += first.poll(100, 0.05)
        shares["second"] += second.poll(100, 0.05)
    assert values(shares["first"] + shares["second"]) == sent
    for consumer, share in ((first, shares["first"]), (second, shares["second"])):
        assert {TopicPartition(chunk.topic, chunk.partition) for chunk in share} <= consumer.assignment()

    second.close()
    settle(lambda: len(first.assignment()) == 4, first)
    assert events[2:] == [("assign", 2)]
    first.close()
    assert events[3:] == [("revoke", 4)]


def test_members_beyond_the_partitions_stay_idle(place: Place, group: Group) -> None:
    topic, name = place.topic(2), group()
    members = [place.join(name, [topic]) for _ in range(3)]
    settle(lambda: sorted(len(member.assignment()) for member in members) == [0, 1, 1], *members)
    for member in members:
        member.close()


def test_a_group_reads_several_topics(place: Place, group: Group) -> None:
    topics = [place.topic(2), place.topic(3)]
    consumer = place.join(group(), topics)
    for topic in topics:
        place.log.append(topic, [b"a", b"b", b"c"], [topic.encode()] * 3)
    assert values(take(consumer, 6)) == sorted([topic.encode() for topic in topics] * 3)
    assert len(consumer.assignment()) == 5
    consumer.close()


@pytest.mark.timeout(400)  # one thread polls for all members: a commit may wait a session long for the others to join
def test_the_order_of_each_key_survives_rebalances(place: Place, group: Group) -> None:
    """B10: members join and leave three times; what is committed of a key is 0, 1, 2, … with none twice or missing."""
    topic, name = place.topic(), group()
    done: dict[bytes, list[int]] = defaultdict(list)
    members = [place.join(name, [topic])]
    sent = 0

    def send() -> None:
        nonlocal sent
        keys = [f"key-{number % 40}".encode() for number in range(200)]
        place.log.append(topic, keys, [f"{sent * 5 + number // 40}".encode() for number in range(200)])
        sent += 1

    def work(member: Consumer) -> None:
        for chunk in member.poll(30, 0.02):
            with contextlib.suppress(FencedError):
                member.commit({TopicPartition(chunk.topic, chunk.partition): Commit(chunk.offsets[-1] + 1)})
                for key, value in zip(chunk.keys, chunk.values, strict=True):
                    done[key or b""].append(int(value or b"-1"))

    def rounds(count: int, size: int) -> None:
        deadline = time.monotonic() + 150
        while count > 0 or len([member for member in members if member.assignment()]) < size:
            assert time.monotonic() < deadline
            send()
            for member in members:
                work(member)
            count -= 1

    rounds(3, 1)
    members.append(place.join(name, [topic]))
    rounds(3, 2)
    members.append(place.join(name, [topic]))
    rounds(3, 3)
    members.pop(0).close()
    rounds(3, 2)
    deadline = time.monotonic() + 150
    while sum(map(len, done.values())) < sent * 200 and time.monotonic() < deadline:
        for member in members:
            work(member)

    assert done == {f"key-{number}".encode(): list(range(sent * 5)) for number in range(40)}
    for member in members:
        member.close()


def test_seek_moves_the_position_within_the_callback_and_after(place: Place, group: Group) -> None:
    topic = place.topic(1)
    at = TopicPartition(topic, 0)
    place.log.append(topic, [b"k"] * 20, [f"{number:02}".encode() for number in range(20)])
    members: list[Consumer] = []
    consumer = place.join(group(), [topic], on_assign=lambda places: members[0].seek(at, 15))
    members.append(consumer)

    assert values(take(consumer, 5)) == [b"15", b"16", b"17", b"18", b"19"]
    consumer.seek(at, 3)
    assert [offset for chunk in take(consumer, 4) for offset in chunk.offsets] == [3, 4, 5, 6]
    consumer.seek(at, 19)
    assert values(take(consumer, 1)) == [b"19"]
    with pytest.raises(EventLogError, match="not assigned"):
        consumer.seek(TopicPartition(place.topic(1), 0), 0)
    consumer.close()


def test_partitions_may_be_committed_while_they_are_taken_and_given_back(place: Place, group: Group) -> None:
    topic, name = place.topic(2), group()
    place.log.append(topic, [b"a", b"b", b"c", b"d"], [b"v"] * 4)
    members: list[Consumer] = []
    seen: list[dict[TopicPartition, Commit]] = []

    def on_assign(places: set[TopicPartition]) -> None:
        seen.append(members[0].committed(sorted(places)))
        members[0].commit(dict.fromkeys(places, Commit(0, "taken")))

    def on_revoke(places: set[TopicPartition]) -> None:
        members[0].commit(dict.fromkeys(places, Commit(1, "given back")))

    members.append(place.join(name, [topic], on_assign=on_assign, on_revoke=on_revoke))
    take(members[0], 4)
    assert seen == [{}]
    assert set(place.log.group_commits(name).values()) == {Commit(0, "taken")}
    members[0].close()
    assert set(place.log.group_commits(name).values()) == {Commit(1, "given back")}


def test_a_commit_for_a_partition_given_back_is_fenced_and_commits_nothing(place: Place, group: Group) -> None:
    topic, name = place.topic(), group()
    place.log.append(topic, [f"{number}".encode() for number in range(40)], [b"v"] * 40)
    first = place.join(name, [topic])
    take(first, 40)
    second = place.join(name, [topic])
    settle(lambda: len(first.assignment()) == len(second.assignment()) == 2, first, second)

    with pytest.raises(FencedError, match=f"group '{name}'.*no longer owns {topic}/"):
        first.commit({TopicPartition(topic, partition): Commit(1) for partition in range(4)})
    assert place.log.group_commits(name) == {}
    first.commit(dict.fromkeys(first.assignment(), Commit(1)))
    second.commit(dict.fromkeys(second.assignment(), Commit(2)))
    assert sorted(commit.offset for commit in place.log.group_commits(name).values()) == [1, 1, 2, 2]
    first.close()
    second.close()


def test_what_was_not_committed_because_of_a_lost_partition_is_delivered_again(place: Place, group: Group) -> None:
    topic, name = place.topic(), group()
    place.log.append(topic, [f"{number}".encode() for number in range(40)], [b"v"] * 40)
    first = place.join(name, [topic])
    batch = take(first, 40)
    second = place.join(name, [topic])
    while len(first.assignment()) + len(second.assignment()) != 4 or not second.assignment():
        assert first.poll(10, 0.02) == []
        second.poll(1, 0.02)

    with pytest.raises(FencedError):
        first.commit({TopicPartition(topic, chunk.partition): Commit(chunk.offsets[-1] + 1) for chunk in batch})
    kept = {at.partition for at in first.assignment()}
    again = take(first, sum(len(chunk) for chunk in batch if chunk.partition in kept))
    assert values(again) == values([chunk for chunk in batch if chunk.partition in kept])
    first.commit({TopicPartition(topic, chunk.partition): Commit(chunk.offsets[-1] + 1) for chunk in again})
    assert first.poll(10, 0.1) == []


def test_a_static_member_that_starts_again_takes_over_and_fences_its_old_self(place: Place, group: Group) -> None:
    place.need("static members")
    topic, name = place.topic(1), group()
    at = TopicPartition(topic, 0)
    place.log.append(topic, [b"k"] * 10, [f"{number}".encode() for number in range(10)])
    old = place.join(name, [topic], member_id="worker-1")
    take(old, 10)
    old.commit({at: Commit(4)})

    started = time.monotonic()
    new = place.join(name, [topic], member_id="worker-1")
    assert values(take(new, 6)) == [f"{number}".encode() for number in range(4, 10)]
    assert time.monotonic() - started < place.session_timeout
    with pytest.raises(FencedError):
        old.commit({at: Commit(5)})
    new.commit({at: Commit(10)})
    assert place.log.group_commits(name) == {at: Commit(10)}


def test_an_empty_commit_and_a_second_close_are_harmless(place: Place, group: Group) -> None:
    topic = place.topic(1)
    consumer = place.join(group(), [topic])
    consumer.commit({})
    consumer.close()
    consumer.close()
    with pytest.raises(EventLogError, match="closed"):
        consumer.poll(1, 0)
