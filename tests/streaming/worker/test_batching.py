"""Batches: by size or by age, in one order, with ranges that an announcement can always name."""

from __future__ import annotations

import pytest

from resources.event_log.base import Messages, OffsetRange, TopicPartition
from streaming.worker.announcement import MAX_METADATA_BYTES, Announcement
from streaming.worker.batch import Assembler, batch_of


def piece(topic, partition, start, count):
    return Messages(
        topic,
        partition,
        list(range(start, start + count)),
        [0] * count,
        [None] * count,
        [b"x" * 10] * count,
    )


def test_a_batch_is_ready_by_rows_bytes_or_age():
    now = [0.0]
    assembler = Assembler(100, 400, 0.2, clock=lambda: now[0])
    assert not assembler.ready()
    assembler.add([piece("a", 0, 0, 10)])
    assert (assembler.ready(), assembler.room()) == (False, 90)
    now[0] += 0.2
    assert assembler.ready()
    assembler.take({})
    assert not assembler.ready()
    assembler.add([piece("a", 0, 10, 40)])  # 400 bytes
    assert (assembler.ready(), assembler.room()) == (True, 0)


def test_a_range_begins_where_the_group_is_not_where_the_messages_are():
    """Otherwise a gap that retention left would be announced by nobody."""
    assembler = Assembler(100, 10_000, 0.0)
    assembler.add([piece("a", 1, 7, 3), piece("a", 0, 0, 2), piece("a", 1, 10, 1)])
    batch = assembler.take({TopicPartition("a", 1): 5})
    assert batch.ranges == (OffsetRange("a", 0, 0, 2), OffsetRange("a", 1, 5, 11))
    assert [list(merged.offsets) for merged in batch.messages] == [[0, 1], [7, 8, 9, 10]]


def test_reading_the_ranges_again_in_other_chunks_gives_the_same_batch():
    whole = [piece("b", 0, 0, 6), piece("a", 3, 4, 4)]
    chunks = [piece("a", 3, 6, 2), piece("b", 0, 0, 3), piece("a", 3, 4, 2), piece("b", 0, 3, 3)]
    ranges = [OffsetRange("b", 0, 0, 6), OffsetRange("a", 3, 4, 8)]
    assert batch_of(whole, ranges) == batch_of(chunks, ranges)


def test_partitions_that_one_announcement_cannot_name_stay_for_the_next():
    assembler = Assembler(10_000, 1 << 20, 0.0)
    places = [(topic, partition) for topic in ("user-events", "content-events") for partition in range(200)]
    assembler.add([piece(topic, partition, 2**62, 1) for topic, partition in places])
    seen = []
    while assembler.rows:
        batch = assembler.take({})
        assert len(Announcement.of(batch.ranges).encode().encode()) <= MAX_METADATA_BYTES
        seen += batch.partitions
    assert sorted(seen) == sorted(places)


def test_an_announcement_survives_its_text():
    announcement = Announcement.of([OffsetRange("b", 1, 5, 9), OffsetRange("a", 0, 0, 2)])
    assert Announcement.decode(announcement.encode()) == announcement
    replay = Announcement.of(announcement.ranges, is_replay=True)
    assert Announcement.decode(replay.encode()) == replay
    assert Announcement.decode("") is None
    assert Announcement.of(announcement.ranges).token != announcement.token  # the same offsets, another log


@pytest.mark.parametrize("text", ["{", "[]", '{"v":2}', '{"v":1,"token":"t","ranges":{"a":[[1]]}}'])
def test_metadata_of_others_is_named_not_guessed(text):
    with pytest.raises(ValueError, match="is not an announcement"):
        Announcement.decode(text)
