"""Topics as the pipeline makes them on a real broker, and messages in them that are not ours."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from contracts.mapping import load_mapping
from deploy.servers import Server
from resources.event_log import EventLog, EventLogError, OffsetRange, TopicSpec, open_event_log
from resources.raw_store import PositionRange, QuarantineFilter, open_raw_store
from streaming.intake import Submission, admit
from streaming.topics import create_topics, topic_specs
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

pytestmark = pytest.mark.servers


@pytest.fixture
def log(kafka: Server) -> Iterator[EventLog]:
    opened = open_event_log(kafka.url, timeout=30.0)
    yield opened
    opened.close()


def settings_of(server: Server, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": server.url.removeprefix("kafka://")})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(30).items()}


def test_topics_are_made_as_stated(kafka: Server, log: EventLog, unique: Callable[[], str]) -> None:
    week, for_ever, latest = unique(), unique(), unique()
    log.create_topics(
        [
            TopicSpec(week, 3, retention_ms=7 * 86_400_000, min_insync_replicas=1, replication_factor=1),
            TopicSpec(for_ever, 1),
            TopicSpec(latest, 2, compacted=True),
        ]
    )
    assert [log.partitions(topic) for topic in (week, for_ever, latest)] == [3, 1, 2]
    found = settings_of(kafka, week)
    assert (found["retention.ms"], found["cleanup.policy"]) == (str(7 * 86_400_000), "delete")
    assert (found["min.insync.replicas"], found["message.timestamp.type"]) == ("1", "LogAppendTime")
    assert settings_of(kafka, for_ever)["retention.ms"] == "-1"
    assert settings_of(kafka, latest)["cleanup.policy"] == "compact"


def test_replicas_come_from_the_url(kafka: Server, unique: Callable[[], str]) -> None:
    topic = unique()
    stated = open_event_log(f"{kafka.url}?replication.factor=1&min.insync.replicas=1")
    stated.create_topics([TopicSpec(topic, 1)])
    assert settings_of(kafka, topic)["min.insync.replicas"] == "1"
    stated.close()
    too_many = open_event_log(f"{kafka.url}?replication.factor=3")
    with pytest.raises(EventLogError, match=r"(?i)replication factor"):
        too_many.create_topics([TopicSpec(unique(), 1)])
    too_many.close()
    with pytest.raises(EventLogError, match=r"min\.insync\.replicas='two' is not a number of replicas"):
        open_event_log(f"{kafka.url}?min.insync.replicas=two")


def test_a_topic_with_other_partitions_than_stated_is_refused_by_name(start_server: Any) -> None:
    log = open_event_log(start_server("kafka").url, timeout=30.0)
    first = topic_specs()[0]
    log.create_topics([TopicSpec(first.name, 3)])
    with pytest.raises(EventLogError, match=f"topic '{first.name}' has 3 partitions, 4 are stated"):
        create_topics(log, partitions=4)
    log.close()


def test_batches_are_compressed_on_the_broker(kafka: Server, log: EventLog, unique: Callable[[], str]) -> None:
    """B12: at most 35 % of the bytes for events as JSON."""
    topic = unique()
    log.create_topics([TopicSpec(topic, 1)])
    values = [
        json.dumps(
            {"event_id": f"01890000-0000-7000-8000-{n:012d}", "type": "post.created", "actor": f"user-{n % 97}",
             "object": f"post-{n % 1009}", "text": "an ordinary sentence of some length", "at": 1_700_000_000_000 + n}
        ).encode()
        for n in range(20_000)
    ]  # fmt: skip
    log.append(topic, [b"k"] * len(values), values)
    folder = kafka.folder / "data" / f"{topic}-0"
    on_disk = sum(file.stat().st_size for file in folder.glob("*.log"))
    assert 0 < on_disk <= 0.35 * sum(map(len, values))


@pytest.mark.timeout(300)
def test_messages_that_are_not_ours_are_quarantined_with_their_place_and_hold_up_nobody(
    start_server: Any, tmp_path: Path
) -> None:
    """Each message of the log gets one verdict in the raw store, read by the worker as it runs in production."""
    broker: Server = start_server("kafka")
    log = open_event_log(broker.url, timeout=30.0)
    create_topics(log, partitions=1)
    rows = [
        json.dumps({"event_id": f"01890000-0000-7000-8000-{n:012d}", "type": "user.signed_in", "actor": f"a{n}",
                    "occurred_at": "2026-01-05T10:00:00Z"}).encode()
        for n in range(3)
    ]  # fmt: skip
    admit(Submission(rows[:1], load_mapping("tally"), "demo", datetime.now(UTC), "r1"), log)
    [message] = log.read([OffsetRange("user-events", 0, 0, 1)])
    good = message.values[0]
    assert good is not None
    newer = {**json.loads(good), "event_id": "01890000-0000-7000-8000-000000000099", "schema_version": 99}
    other = json.loads(good)
    other["event_id"] = "01890000-0000-7000-8000-00000000abcd"
    foreign: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (b"k", b"", []),  # empty
        (b"k", None, []),  # a tombstone where none belongs
        (None, b"\xff\xfe", [("content-type", b"application/avro")]),  # another system's, with its headers
        (b"k", b'{"hello": "world"}', []),
        (b"k", json.dumps(newer).encode(), []),  # of schema version N+1
        (b"demo/somebody-else", json.dumps(other).encode(), []),  # its key disagrees: the value says what it is
        (b"k", b'"' + b"x" * 1_900_000 + b'"', []),  # larger than a whole batch of the worker below
    ]
    producer = Producer({"bootstrap.servers": broker.url.removeprefix("kafka://"), "message.max.bytes": 2_000_000})
    for key, value, headers in foreign:
        producer.produce("user-events", value=value, key=key, headers=headers, partition=0)
    assert producer.flush(60) == 0
    admit(Submission(rows[1:], load_mapping("tally"), "demo", datetime.now(UTC), "r2"), log)

    store_url = f"sqlite:///{tmp_path}/raw.db"
    stop = threading.Event()
    config = WorkerConfig("raw", broker.url, store_url, topic_partitions=1, max_batch_bytes=1_000_000, linger=0.05)
    worker = threading.Thread(target=run_worker, args=(config, stop))
    worker.start()
    store = open_raw_store(store_url)
    store.ensure_schema()
    everything = PositionRange("user-events", 0, 0, 10)
    deadline = time.monotonic() + 120
    while store.verdicts([everything])[everything].total < 10:
        assert time.monotonic() < deadline, store.verdicts([everything])
        time.sleep(0.1)
    stop.set()
    worker.join()

    assert store.verdicts([everything])[everything] == (4, 0, 6)
    found = store.quarantine(QuarantineFilter())
    assert dict(zip(found["id"], found["reason"], strict=True)) == {
        "user-events/0@1": "empty_row",
        "user-events/0@2": "tombstone",
        "user-events/0@3": "invalid_utf8",
        "user-events/0@4": "foreign_message",
        "user-events/0@5": "unsupported_schema_version",
        "user-events/0@7": "foreign_message",
    }
    assert store.get_event("demo", other["event_id"]) is not None
    assert set(log.watermarks("user-events").values()) == {(0, 10)}
    store.close()
    log.close()
