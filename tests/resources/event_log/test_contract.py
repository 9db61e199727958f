"""What both event logs promise about messages: order, offsets, partitions, replay, time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from resources.event_log import EventLog, EventLogError, Messages, OffsetRange, TopicPartition, TopicSpec

if TYPE_CHECKING:
    from conftest import Place


def everything(log: EventLog, topic: str) -> list[Messages]:
    bounds = log.watermarks(topic)
    return list(log.read([OffsetRange(topic, partition, low, high) for partition, (low, high) in bounds.items()]))


def rows(chunks: list[Messages]) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Partition, offset, key, value of every message, by partition."""
    found = [
        (chunk.partition, *row) for chunk in chunks for row in zip(chunk.offsets, chunk.keys, chunk.values, strict=True)
    ]
    return sorted(found, key=lambda row: row[:2])


def test_appended_messages_are_read_back_in_order_at_the_offsets_told(place: Place) -> None:
    topic = place.topic()
    keys = [f"user-{number % 17}".encode() for number in range(1_000)]
    values = [f"value {number}".encode() for number in range(1_000)]
    told: list[tuple[int, int, bytes, bytes]] = []
    for start in range(0, 1_000, 250):
        part = slice(start, start + 250)
        appended = place.log.append(topic, keys[part], values[part])
        assert appended.topic == topic
        told += zip(appended.partitions, appended.offsets, keys[part], values[part], strict=True)

    assert rows(everything(place.open(), topic)) == sorted(told)
    for partition, (low, high) in place.log.watermarks(topic).items():
        offsets = [offset for at, offset, _, _ in sorted(told) if at == partition]
        assert (low, high) == (0, len(offsets))
        assert offsets == list(range(high))
        numbers = [int(value.split()[1]) for at, _, _, value in sorted(told) if at == partition]
        assert numbers == sorted(numbers)


def test_any_bytes_come_back_as_they_were(place: Place) -> None:
    topic = place.topic()
    pairs: list[tuple[bytes | None, bytes | None]] = [
        (b"key", None),
        (b"key", b""),
        (None, b"\x00\xff\x00"),
        ("schlüssel 🗝".encode(), '{"text": "šťastný 🎉"}'.encode()),
        (b"\x00", bytes(range(256)) * 100),
        (b"large", b"x" * 2_000_000),
    ]
    appended = place.log.append(topic, [key for key, _ in pairs], [value for _, value in pairs])

    found = {row[:2]: row[2:] for row in rows(everything(place.log, topic))}

    assert [found[at] for at in zip(appended.partitions, appended.offsets, strict=True)] == pairs


def test_equal_keys_go_to_equal_partitions_and_keys_spread(place: Place) -> None:
    topic = place.topic()
    keys = [f"actor-{number}".encode() for number in range(400)]
    first = place.log.append(topic, keys, keys)
    second = place.open().append(topic, keys[::-1], keys[::-1])

    assert list(first.partitions) == list(second.partitions)[::-1]
    assert all(list(first.partitions).count(partition) > 60 for partition in range(4))


def test_messages_without_a_key_go_round(place: Place) -> None:
    topic = place.topic()
    partitions = [place.log.append(topic, [None] * 2, [b"a", b"b"]).partitions for _ in range(6)]

    assert sorted(partition for pair in partitions for partition in pair) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_an_empty_batch_appends_nothing(place: Place) -> None:
    topic = place.topic()
    assert list(place.log.append(topic, [], []).offsets) == []
    assert place.log.watermarks(topic) == dict.fromkeys(range(4), (0, 0))


def test_keys_and_values_must_pair_up(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(ValueError, match="1 keys for 2 values"):
        place.log.append(topic, [b"k"], [b"a", b"b"])


@pytest.mark.parametrize(("start", "end"), [(0, 100), (0, 1), (37, 38), (37, 81), (99, 100), (50, 50)])
def test_replay_gives_exactly_the_range(place: Place, start: int, end: int) -> None:
    topic = place.topic(1)
    place.log.append(topic, [b"k"] * 100, [str(number).encode() for number in range(100)])

    chunks = list(place.log.read([OffsetRange(topic, 0, start, end)], max_messages=10))

    assert all(0 < len(chunk) <= 10 for chunk in chunks)
    assert [offset for chunk in chunks for offset in chunk.offsets] == list(range(start, end))
    assert [value for chunk in chunks for value in chunk.values] == [
        str(number).encode() for number in range(start, end)
    ]


def test_replay_of_several_ranges_of_several_partitions_is_repeatable(place: Place) -> None:
    topic = place.topic()
    place.log.append(topic, [f"{number}".encode() for number in range(800)], [b"v"] * 800)
    ranges = [OffsetRange(topic, partition, low, low + 40) for partition in range(4) for low in (100, 10)]

    once = rows(list(place.log.read(ranges, max_messages=7)))

    expected = [(at, offset) for at in range(4) for offset in [*range(10, 50), *range(100, 140)]]
    assert [row[:2] for row in once] == expected
    assert rows(list(place.log.read(ranges))) == once


def test_a_replay_that_is_abandoned_half_way_disturbs_nothing(place: Place) -> None:
    topic = place.topic(1)
    place.log.append(topic, [b"k"] * 500, [b"v"] * 500)
    for _ in range(3):
        chunks = place.log.read([OffsetRange(topic, 0, 0, 500)], max_messages=10)
        assert next(iter(chunks)).offsets[0] == 0
        del chunks
    assert len(rows(everything(place.log, topic))) == 500


@pytest.mark.parametrize(("start", "end"), [(0, 11), (10, 12), (500, 600)])
def test_replay_of_what_is_not_there_is_refused(place: Place, start: int, end: int) -> None:
    topic = place.topic(1)
    place.log.append(topic, [b"k"] * 10, [b"v"] * 10)
    with pytest.raises(EventLogError, match=rf"{topic}/0 from {start} to {end}: the log holds 0 to 10"):
        list(place.log.read([OffsetRange(topic, 0, start, end)]))


def test_offsets_at_cuts_between_before_and_after(place: Place) -> None:
    place.need("append time")
    topic = place.topic()
    before = int(time.time() * 1000)
    assert place.log.offsets_at(topic, before) == dict.fromkeys(range(4), 0)
    place.log.append(topic, [f"{number}".encode() for number in range(200)], [b"early"] * 200)
    middle = place.log.watermarks(topic)
    time.sleep(0.05)
    cut = int(time.time() * 1000)
    time.sleep(0.05)
    place.log.append(topic, [f"{number}".encode() for number in range(200)], [b"late"] * 200)

    assert place.log.offsets_at(topic, 0) == dict.fromkeys(range(4), 0)
    assert place.log.offsets_at(topic, before) == dict.fromkeys(range(4), 0)
    assert place.log.offsets_at(topic, cut) == {partition: high for partition, (_, high) in middle.items()}
    assert place.log.offsets_at(topic, int(time.time() * 1000) + 60_000) == {
        partition: high for partition, (_, high) in place.log.watermarks(topic).items()
    }


def test_offsets_at_the_exact_time_of_a_message_includes_it(place: Place) -> None:
    place.need("append time")
    topic = place.topic(1)
    for _ in range(5):
        place.log.append(topic, [b"k"], [b"v"])
        time.sleep(0.003)
    [chunk] = everything(place.log, topic)
    assert list(chunk.timestamps) == sorted(chunk.timestamps)
    assert abs(chunk.timestamps[-1] - time.time() * 1000) < 60_000
    for offset, appended_ms in zip(chunk.offsets, chunk.timestamps, strict=True):
        assert place.log.offsets_at(topic, appended_ms)[0] == list(chunk.timestamps).index(appended_ms)
        assert place.log.offsets_at(topic, appended_ms + 1)[0] > offset


def test_append_times_never_fall_with_many_appending(place: Place) -> None:
    place.need("append time")
    topic = place.topic(2)
    threads = [
        threading.Thread(target=lambda: [place.log.append(topic, [b"a", b"b"], [b"v"] * 2) for _ in range(40)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for chunk in everything(place.log, topic):
        assert list(chunk.timestamps) == sorted(chunk.timestamps)


def test_retention_removes_the_old_and_replay_says_so(place: Place) -> None:
    place.need("retention")
    if place.kind != "sqlite":
        pytest.skip("a broker removes whole segments, at times of its own")
    topic = place.topic(1, retention_ms=60_000)
    place.log.append(topic, [b"k"] * 30_000, [b"v"] * 30_000)
    now = int(time.time() * 1000)

    assert place.log.maintain(now) == 0
    assert place.log.maintain(now + 120_000) == 30_000

    assert place.log.watermarks(topic) == {0: (30_000, 30_000)}
    assert list(place.log.append(topic, [b"k"], [b"new"]).offsets) == [30_000]
    with pytest.raises(EventLogError, match="the log holds 30000 to 30001"):
        list(place.log.read([OffsetRange(topic, 0, 0, 10)]))


def test_compaction_keeps_the_last_message_of_each_key(place: Place) -> None:
    place.need("compaction")
    if place.kind != "sqlite":
        pytest.skip("a broker compacts closed segments, at times of its own")
    topic = place.topic(1, compacted=True)
    keys: list[bytes | None] = [b"a", b"b", b"a", None, b"c", b"b", b"c"]
    values: list[bytes | None] = [b"1", b"2", b"3", b"4", b"5", b"6", None]
    place.log.append(topic, keys, values)

    assert place.log.maintain(int(time.time() * 1000)) == 3
    kept = [(2, b"a", b"3"), (3, None, b"4"), (5, b"b", b"6"), (6, b"c", None)]
    assert [row[1:] for row in rows(everything(place.log, topic))] == kept
    assert place.log.watermarks(topic) == {0: (0, 7)}

    assert place.log.maintain(int(time.time() * 1000) + 25 * 3600 * 1000) == 1  # the tombstone
    assert [row[1] for row in rows(everything(place.log, topic))] == [2, 3, 5]
    assert [row[1] for row in rows(list(place.log.read([OffsetRange(topic, 0, 6, 7)])))] == []


def test_wait_for_returns_when_a_message_comes_and_not_before(place: Place) -> None:
    topic = place.topic()
    place.log.append(topic, [b"a"], [b"v"])
    ends = {TopicPartition(topic, partition): high for partition, (_, high) in place.log.watermarks(topic).items()}

    started = time.monotonic()
    assert not place.log.wait_for(ends, timeout=0.3)
    assert 0.25 < time.monotonic() - started < 2

    other = place.open()
    other.append(place.topic(), [b"elsewhere"], [b"v"])
    appended_at: list[float] = []

    def append_soon() -> None:
        time.sleep(0.2)
        other.append(topic, [b"a"], [b"v"])
        appended_at.append(time.monotonic())

    thread = threading.Thread(target=append_soon)
    thread.start()
    assert place.log.wait_for(ends, timeout=10)
    seen_at = time.monotonic()
    thread.join()
    assert seen_at - appended_at[0] < (0.5 if "prompt fetches" not in place.lacks else 5.0)
    assert place.log.wait_for(ends, timeout=0)


def test_a_position_beyond_the_log_is_waited_for(place: Place) -> None:
    topic = place.topic(1)
    place.log.append(topic, [b"a"], [b"v"])
    assert not place.log.wait_for({TopicPartition(topic, 0): 3}, timeout=0.2)
    place.log.append(topic, [b"a"] * 3, [b"v"] * 3)
    assert place.log.wait_for({TopicPartition(topic, 0): 3}, timeout=5)


def test_unknown_topics_are_named(place: Place) -> None:
    log = place.log
    for ask in (
        lambda: log.append("no-such-topic", [b"k"], [b"v"]),
        lambda: log.partitions("no-such-topic"),
        lambda: log.watermarks("no-such-topic"),
        lambda: log.offsets_at("no-such-topic", 0),
        lambda: list(log.read([OffsetRange("no-such-topic", 0, 0, 1)])),
        lambda: log.wait_for({TopicPartition("no-such-topic", 0): 0}, 1),
        lambda: log.consumer("g", ["no-such-topic"]),
    ):
        with pytest.raises(EventLogError, match="unknown topic 'no-such-topic'"):
            ask()


def test_unknown_partitions_are_named(place: Place) -> None:
    topic = place.topic(2)
    with pytest.raises(EventLogError, match=rf"{topic}.* has 2 partitions"):
        list(place.log.read([OffsetRange(topic, 2, 0, 1)]))
    with pytest.raises(EventLogError, match=rf"{topic}.* has 2 partitions"):
        place.log.wait_for({TopicPartition(topic, 2): 0}, 1)


def test_creating_topics_again_changes_nothing_and_other_partition_counts_are_refused(place: Place) -> None:
    topic = place.topic(3)
    place.log.append(topic, [b"k"], [b"v"])
    place.open().create_topics([TopicSpec(topic, 3)])
    assert place.log.partitions(topic) == 3
    assert len(rows(everything(place.log, topic))) == 1
    with pytest.raises(EventLogError, match=f"topic '{topic}' has 3 partitions, 4 are stated"):
        place.log.create_topics([TopicSpec(topic, 4)])


def test_topics_are_made_as_stated(place: Place) -> None:
    place.need("create topics")
    topic = place.topic(5, retention_ms=3_600_000)
    assert place.open().partitions(topic) == 5


def test_a_message_over_the_limit_is_refused_and_nothing_of_its_batch_appended(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(
        EventLogError, match=r"message 1 has 10,000,001 bytes, the limit max_message_bytes is 2,097,152"
    ):
        place.log.append(topic, [b"a", b"b", b"c"], [b"small", b"x" * 10_000_000, b"small"])
    assert place.log.watermarks(topic) == dict.fromkeys(range(4), (0, 0))
    place.log.append(topic, [b"k"], [b"the log goes on"])


def test_ping_and_close(place: Place) -> None:
    topic = place.topic()
    log = place.open()
    log.ping()
    log.close()
    log.close()
    with pytest.raises(EventLogError, match="closed"):
        log.append(topic, [b"k"], [b"v"])
    with pytest.raises(EventLogError, match="closed"):
        log.ping()
