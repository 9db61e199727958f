"""The two logs the contract suite runs on, and child processes that can be stopped and killed.

Kafka is librdkafka's own mock cluster, which speaks Kafka's protocol on a socket; with TALLY_TEST_KAFKA=host:port in
the environment it is a real broker instead, and nothing is skipped.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from resources.event_log import Consumer, EventLog, EventLogError, TopicSpec, open_event_log

CHILD = Path(__file__).with_name("child_process.py")

# What a mock cluster cannot show, and why. Everything else of the contract is checked on it.
MOCK_LACKS = {
    "create topics": "the mock cluster does not answer CreateTopics; topics are made through its C interface",
    "append time": "the mock cluster neither stamps messages with its clock nor finds offsets by time",
    "retention": "the mock cluster keeps everything for ever",
    "compaction": "the mock cluster does not compact",
    "prompt fetches": "the mock cluster answers an empty fetch when its wait is over, not when a message comes",
    "holes": "the mock cluster writes no transaction markers, so its offsets have no holes",
    "static members": "the mock cluster takes a second process of a static member for another member",
}


class MockCluster:
    """librdkafka's mock cluster, through its C interface: confluent-kafka can start one, but not make topics in it."""

    def __init__(self) -> None:
        folder = Path(confluent_kafka.__file__).parent
        libraries = [*folder.parent.glob("confluent_kafka.libs/librdkafka*"), *folder.glob(".dylibs/librdkafka*")]
        if not libraries:
            pytest.skip("this build of confluent-kafka does not bring librdkafka as a shared library")
        self._c = ctypes.CDLL(str(libraries[0]))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._c, name).restype = ctypes.c_void_p
        self._c.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        config = ctypes.c_void_p(self._c.rd_kafka_conf_new())
        self._c.rd_kafka_conf_set(config, b"log_level", b"0", None, ctypes.c_size_t(0))
        self._client = ctypes.c_void_p(self._c.rd_kafka_new(0, config, None, ctypes.c_size_t(0)))
        self._cluster = ctypes.c_void_p(self._c.rd_kafka_mock_cluster_new(self._client, 1))
        self._c.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, ctypes.c_int32(100))
        self.servers: str = self._c.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def make_topic(self, name: str, partitions: int) -> None:
        error = self._c.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        assert error == 0, error

    def set_up(self, *, up: bool) -> None:
        call = self._c.rd_kafka_mock_broker_set_up if up else self._c.rd_kafka_mock_broker_set_down
        assert call(self._cluster, ctypes.c_int32(1)) == 0

    def fail_next(self, api_key: int, *errors: int) -> None:
        """Answer the next requests of this kind with these error codes (0: none)."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._c.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(api_key), ctypes.c_size_t(len(errors)), array
        )

    def close(self) -> None:
        self._c.rd_kafka_mock_cluster_destroy(self._cluster)
        self._c.rd_kafka_destroy(self._client)


class Place:
    """One log, and what a test may ask of it."""

    def __init__(self, kind: str, url: str, make_topic: Callable[[TopicSpec], None] | None, session: float) -> None:
        self.kind = kind
        self.url = url
        self.session_timeout = session
        self.lacks: dict[str, str] = MOCK_LACKS if kind == "kafka-mock" else {}
        self._make_topic = make_topic
        self._log: EventLog | None = None
        self._opened: list[EventLog] = []
        self._children: list[subprocess.Popen[str]] = []
        self._consumers: list[Consumer] = []

    @property
    def log(self) -> EventLog:
        if self._log is None:
            self._log = self.open()
        return self._log

    def use(self, log: EventLog) -> None:
        """Make `log`, which belongs to somebody else, the one most of the test talks to."""
        self._log = log

    def open(self, **options: Any) -> EventLog:
        """Open the log once more, as another process would."""
        log = open_event_log(self.url, session_timeout=self.session_timeout, **options)
        self._opened.append(log)
        return log

    def join(self, group: str, topics: Sequence[str], **options: Any) -> Consumer:
        """Join a group as another process would."""
        consumer = self.open().consumer(group, topics, **options)
        self._consumers.append(consumer)
        return consumer

    def topic(self, partitions: int = 4, **spec: Any) -> str:
        """Make a topic no other test uses."""
        wanted = TopicSpec(f"topic-{uuid.uuid4().hex[:12]}", partitions, **spec)
        if self._make_topic is not None:
            self._make_topic(wanted)
        else:
            self.log.create_topics([wanted])
        return wanted.name

    def need(self, ability: str) -> None:
        if ability in self.lacks:
            pytest.skip(f"{self.lacks[ability]}; runs with TALLY_TEST_KAFKA=host:port")

    def child(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start `child_process.py` on this log."""
        command = [sys.executable, str(CHILD), self.url, str(self.session_timeout), *map(str, arguments)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()
        for consumer in self._consumers:
            with contextlib.suppress(EventLogError):
                consumer.close()
        for log in self._opened:
            log.close()


@pytest.fixture(scope="session")
def mock_cluster() -> Iterator[MockCluster]:
    cluster = MockCluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def kafka_url(request: pytest.FixtureRequest) -> str:
    servers = os.environ.get("TALLY_TEST_KAFKA", "")
    if servers:
        return f"kafka://{servers}"
    cluster: MockCluster = request.getfixturevalue("mock_cluster")
    return f"kafka://{cluster.servers}?fetch.wait.max.ms=50"  # see "prompt fetches"


@pytest.fixture(scope="session")
def kafka_log(kafka_url: str) -> Iterator[EventLog]:
    """One log for all tests: an idempotent producer takes a quarter of a second to start."""
    log = open_event_log(kafka_url, session_timeout=6.0 if "?" not in kafka_url else 1.0)
    yield log
    log.close()


@pytest.fixture
def kafka_place(request: pytest.FixtureRequest, kafka_url: str, kafka_log: EventLog) -> Iterator[Place]:
    if "?" not in kafka_url:
        place = Place("kafka", kafka_url, None, 6.0)
    else:
        cluster: MockCluster = request.getfixturevalue("mock_cluster")
        place = Place("kafka-mock", kafka_url, lambda spec: cluster.make_topic(spec.name, spec.partitions), 1.0)
    place.use(kafka_log)
    yield place
    place.close()


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[Place]:
    place = Place("sqlite", f"sqlite:///{tmp_path}/log.db", None, 1.0)
    yield place
    place.close()


@pytest.fixture(params=["sqlite", "kafka"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def group() -> Callable[[], str]:
    """Names of groups no other test uses."""
    numbers = itertools.count()
    return lambda: f"group-{uuid.uuid4().hex[:12]}-{next(numbers)}"
