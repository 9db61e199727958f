"""TLS and SASL on the real broker, all from the URL and one environment variable; and what each mistake says."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.servers import Server, java, kafka
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.scratch import scratch_folder
from resources.event_log import (
    EventLogError,
    LogUnavailableError,
    OffsetRange,
    TopicPartition,
    TopicSpec,
    open_event_log,
)
from resources.event_log.base import Commit

pytestmark = pytest.mark.servers

PASSWORD = "correct horse"  # with a space: it travels through the broker's own quoting
STORE_PASSWORD = "key-store-password"


class Secured:
    """A broker with a TLS listener that asks for a password, and its certificate."""

    def __init__(self, folder: Path) -> None:
        keytool = shutil.which("keytool") or str(Path(java.find_java()).resolve().parent / "keytool")
        store, self.certificate = folder / "broker.p12", folder / "broker.pem"
        common = ["-alias", "broker", "-keystore", str(store), "-storepass", STORE_PASSWORD]
        _run(keytool, "-genkeypair", *common, "-keyalg", "EC", "-dname", "CN=localhost", "-validity", "2",
             "-ext", f"SAN=ip:{LOCAL}", "-storetype", "PKCS12")  # fmt: skip
        _run(keytool, "-exportcert", *common, "-rfc", "-file", str(self.certificate))
        self.port = free_port()
        listener = kafka.Secured(self.port, store, STORE_PASSWORD, {"tally": PASSWORD})
        self.server: Server = kafka.server(folder / "kafka", secured=listener)

    def url(self, **changes: str) -> str:
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "tally",
            "ssl.ca.location": str(self.certificate),
            **{name.replace("_", "."): value for name, value in changes.items()},
        }
        return f"kafka://{LOCAL}:{self.port}?" + "&".join(f"{name}={value}" for name, value in options.items() if value)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    if problem := kafka.missing():
        pytest.skip(problem)
    with scratch_folder() as folder:
        made = Secured(folder)
        with made.server:
            yield made


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_KAFKA_PASSWORD", PASSWORD)


def test_events_pass_through_tls_with_a_password(secured: Secured, unique: Callable[[], str]) -> None:
    log = open_event_log(secured.url())
    topic, group = unique(), unique()
    log.create_topics([TopicSpec(topic, 2)])
    appended = log.append(topic, [b"k"] * 3, [b"1", b"2", b"3"])
    place = TopicPartition(topic, appended.partitions[0])
    [chunk] = log.read([OffsetRange(*place, 0, 3)])
    assert list(chunk.values) == [b"1", b"2", b"3"]
    consumer = log.consumer(group, [topic])
    deadline = time.monotonic() + 60
    while not consumer.poll(10, 0.2):
        assert time.monotonic() < deadline
    consumer.commit({place: Commit(3, "m")})
    consumer.close()
    assert log.group_commits(group) == {place: Commit(3, "m")}
    log.close()


def test_a_wrong_password_is_named_as_such_everywhere_and_never_shown(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TALLY_KAFKA_PASSWORD", "battery staple")
    log = open_event_log(secured.url(), timeout=10.0)
    for attempt in (log.ping, lambda: log.append("any", [b"k"], [b"v"]), lambda: log.watermarks("any")):
        with pytest.raises(EventLogError, match=r"(?i)authentication failed") as caught:
            attempt()
        assert "battery staple" not in str(caught.value)
    log.close()
    assert "battery staple" not in caplog.text


def test_a_broker_that_cannot_be_trusted_is_refused(secured: Secured) -> None:
    log = open_event_log(secured.url(ssl_ca_location=""), timeout=10.0)
    with pytest.raises(EventLogError, match=r"certificate"):
        log.ping()
    log.close()


def test_plain_text_to_a_tls_port_is_no_connection(secured: Secured) -> None:
    log = open_event_log(f"kafka://{LOCAL}:{secured.port}", timeout=10.0)
    with pytest.raises(LogUnavailableError, match=f"kafka://{LOCAL}:{secured.port}: metadata"):
        log.ping()
    log.close()
