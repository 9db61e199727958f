"""What only the Kafka log has to show: its URL, its secrets, and brokers that answer with errors."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from resources.event_log import (
    Commit,
    EventLogError,
    FencedError,
    LogUnavailableError,
    OffsetRange,
    TopicPartition,
    open_event_log,
)
from resources.event_log.kafka_config import parse_url

if TYPE_CHECKING:
    from conftest import MockCluster, Place

PRODUCE, OFFSET_COMMIT = 0, 8
REQUEST_TIMED_OUT, NOT_LEADER, DUPLICATE_SEQUENCE = 7, 6, 46
ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS = 22, 25, 27


@pytest.fixture
def mock_place(kafka_place: Place) -> Place:
    if kafka_place.kind != "kafka-mock":
        pytest.skip("errors are put into the mock cluster only")
    return kafka_place


def test_the_url_names_brokers_and_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_KAFKA_PASSWORD", "hunter2")
    target = parse_url("kafka://a:1,b,[::1]:3?security.protocol=SASL_SSL&sasl.username=tally&client.id=collector")
    assert (
        target.properties.items()
        >= {
            "bootstrap.servers": "a:1,b:9092,[::1]:3",
            "security.protocol": "SASL_SSL",
            "sasl.username": "tally",
            "sasl.password": "hunter2",
            "client.id": "collector",
        }.items()
    )
    assert parse_url("kafka://a").properties["bootstrap.servers"] == "a:9092"


@pytest.mark.parametrize("url", ["kafka://", "kafka:///", "kafka://host/topic", "kafka://?client.id=x"])
def test_a_url_that_does_not_name_brokers_is_refused(url: str) -> None:
    with pytest.raises(EventLogError, match="expected kafka://host:port"):
        open_event_log(url)


def test_an_unknown_property_is_named() -> None:
    with pytest.raises(EventLogError, match=r"no\.such\.property"):
        open_event_log("kafka://127.0.0.1:1?no.such.property=1")


@pytest.mark.parametrize(
    "url",
    ["kafka://user:s3cret@host:9092", "kafka://host:9092?sasl.password=s3cret", "kafka://h?ssl.key.password=s3cret"],
)
def test_a_secret_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(EventLogError, match="TALLY_KAFKA_PASSWORD") as caught:
        open_event_log(url)
    assert "s3cret" not in str(caught.value)


def test_the_password_is_in_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TALLY_KAFKA_PASSWORD", "s3cret")
    caplog.set_level(logging.DEBUG)
    url = "kafka://127.0.0.1:1?security.protocol=SASL_PLAINTEXT&sasl.mechanisms=PLAIN&sasl.username=tally"
    log = open_event_log(url, timeout=0.5)
    with pytest.raises(EventLogError) as caught:
        log.append("t", [b"k"], [b"v"])
    with pytest.raises(EventLogError):
        log.ping()
    log.close()
    output = capfd.readouterr()
    for text in (repr(log), repr(parse_url(url)), str(caught.value), caplog.text, output.out, output.err):
        assert "s3cret" not in text
    assert caught.value.__class__.__name__ == "LogUnavailableError"


def test_answers_that_get_lost_double_nothing(mock_place: Place, mock_cluster: MockCluster) -> None:
    topic = mock_place.topic(1)
    mock_place.log.append(topic, [b"k"], [b"first"])
    mock_cluster.fail_next(PRODUCE, REQUEST_TIMED_OUT, NOT_LEADER, REQUEST_TIMED_OUT)
    values = [f"{number}".encode() for number in range(50)]
    appended = mock_place.log.append(topic, [b"k"] * 50, values)
    assert list(appended.offsets) == list(range(1, 51))
    [*chunks] = mock_place.log.read([OffsetRange(topic, 0, 1, 51)])
    assert [value for chunk in chunks for value in chunk.values] == values


def test_messages_acknowledged_without_an_offset_are_not_taken_for_durable(
    mock_place: Place, mock_cluster: MockCluster
) -> None:
    """A real broker says "duplicate" also of a first batch that the second one overtook; then it is not in the log."""
    topic = mock_place.topic(1)
    mock_place.log.append(topic, [b"k"], [b"first"])
    mock_cluster.fail_next(PRODUCE, DUPLICATE_SEQUENCE)
    with pytest.raises(LogUnavailableError, match=r"[12] of 2 messages were acknowledged without an offset"):
        mock_place.log.append(topic, [b"k"] * 2, [b"second", b"third"])
    again = mock_place.log.append(topic, [b"k"], [b"again"])
    assert mock_place.log.watermarks(topic) == {0: (0, again.offsets[0] + 1)}


def test_a_commit_while_others_join_is_repeated(mock_place: Place, mock_cluster: MockCluster) -> None:
    topic, name = mock_place.topic(1), "group-joining"
    mock_place.log.append(topic, [b"k"] * 2, [b"v"] * 2)
    consumer = mock_place.join(name, [topic])
    while not consumer.poll(2, 0.1):
        pass
    mock_cluster.fail_next(OFFSET_COMMIT, REBALANCE_IN_PROGRESS, REBALANCE_IN_PROGRESS)
    consumer.commit({TopicPartition(topic, 0): Commit(1, "still ours")})
    assert mock_place.log.group_commits(name) == {TopicPartition(topic, 0): Commit(1, "still ours")}


@pytest.mark.parametrize("error", [UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION])
def test_a_member_the_broker_does_not_know_is_fenced_and_comes_back(
    mock_place: Place, mock_cluster: MockCluster, error: int
) -> None:
    topic, name = mock_place.topic(1), f"group-fenced-{error}"
    mock_place.log.append(topic, [b"k"], [b"v"])
    consumer = mock_place.join(name, [topic])
    while not consumer.poll(2, 0.1):
        pass
    mock_cluster.fail_next(OFFSET_COMMIT, error)
    for _ in range(2):  # and it stays so until the partitions are assigned anew
        with pytest.raises(FencedError, match=f"group '{name}'"):
            consumer.commit({TopicPartition(topic, 0): Commit(1)})
    assert mock_place.log.group_commits(name) == {}

    while not (again := consumer.poll(2, 0.1)):
        pass
    assert list(again[0].offsets) == [0]
    consumer.commit({TopicPartition(topic, 0): Commit(1)})


def test_a_range_whose_tail_is_a_hole_ends(kafka_place: Place) -> None:
    kafka_place.need("holes")
    topic = kafka_place.topic(1)
    servers = kafka_place.url.removeprefix("kafka://")
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(60)
    for first in (0, 5):
        producer.begin_transaction()
        for number in range(first, first + 5):
            producer.produce(topic, key=b"k", value=str(number).encode(), partition=0)
        producer.commit_transaction(60)

    def replay(start: int, end: int) -> list[int]:
        return [at for chunk in kafka_place.log.read([OffsetRange(topic, 0, start, end)]) for at in chunk.offsets]

    # Offsets 5 and 11 are the markers of the two transactions: nothing can be read there. The broker writes the marker
    # some time after it has answered the commit.
    deadline = time.monotonic() + 60
    while kafka_place.log.watermarks(topic) != {0: (0, 12)}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert replay(0, 12) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert replay(0, 6) == [0, 1, 2, 3, 4]
    assert replay(5, 6) == []
    assert replay(11, 12) == []
    assert not kafka_place.log.wait_for({TopicPartition(topic, 0): 12}, 0.2)
