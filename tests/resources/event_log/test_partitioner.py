"""Keys go where Kafka's own clients send them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from resources.event_log.partitioner import murmur2, partitions_of

if TYPE_CHECKING:
    from conftest import Place


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # The vectors of Kafka's own test of its Java client.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(st.lists(st.binary(max_size=9), max_size=200), st.integers(1, 1_000))
def test_by_columns_and_one_by_one_agree(keys: list[bytes], partitions: int) -> None:
    assert partitions_of(keys, partitions) == [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]


@given(st.lists(st.sampled_from([None, b"a", b"b"]), max_size=40), st.integers(0, 100))
def test_messages_without_a_key_take_the_next_partition_in_turn(keys: list[bytes | None], first: int) -> None:
    found = partitions_of(keys, 4, first)
    nulls = [partition for key, partition in zip(keys, found, strict=True) if key is None]
    assert nulls == [(first + number) % 4 for number in range(len(nulls))]


def test_both_logs_choose_the_partitions_librdkafka_chooses(kafka_place: Place, sqlite_place: Place) -> None:
    keys = [uuid.uuid5(uuid.NAMESPACE_URL, str(number)).bytes[: 1 + number % 16] for number in range(300)]
    chosen: dict[bytes, int | None] = {}

    def report(error: Any, message: Any) -> None:
        assert error is None
        chosen[message.key()] = message.partition()

    topic = kafka_place.topic(7)
    servers = kafka_place.url.removeprefix("kafka://").partition("?")[0]
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(topic, key=key, value=b"v", on_delivery=report)
    assert producer.flush(10) == 0

    expected = [chosen[key] for key in keys]
    assert list(kafka_place.log.append(topic, keys, keys).partitions) == expected
    assert list(sqlite_place.log.append(sqlite_place.topic(7), keys, keys).partitions) == expected
