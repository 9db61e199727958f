"""Each incident reaches each channel once: signed, retried, by mail too, and never an address of our own unasked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analytics.incidents import IncidentState, Verdict
from contracts.alerts.model import RuleFile
from orchestration.alerts.deliver import deliver_due
from orchestration.alerts.store import AlertStore
from orchestration.alerts.webhook import DeliveryError, checked_address, post, signature

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "quiet"


@dataclass
class Receiver:
    """A real HTTP server: answers with the statuses it is given, then 200; remembers what came."""

    statuses: list[int] = field(default_factory=list)
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.came.append((dict(self.headers), body))
            status = told.statuses.pop(0) if told.statuses else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()


def rules(url: str, *, allow_private: bool = True) -> RuleFile:
    hook = {"kind": "webhook", "url": url, "secret_env": "TEST_ALERT_SECRET", "allow_private": allow_private}
    return RuleFile.model_validate(
        {
            "rules": [
                {"id": "r", "version": 1, "description": "d", "metric": "events", "when": {"kind": "absence"},
                 "channels": ["hook", "mail"]},
            ],
            "channels": {"hook": hook, "mail": {"kind": "email", "to": ["a@example.org", "b@example.org"]}},
        }
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlertStore:
    monkeypatch.setenv("TEST_ALERT_SECRET", SECRET)
    return AlertStore(tmp_path / "alerts.db")


def open_incident(store: AlertStore, found: RuleFile) -> str:
    verdict = Verdict(NOW, "bad", 0.0, "events: nothing came in")
    state = IncidentState(through=NOW + timedelta(hours=1), opened=NOW)
    incident = store.commit(found.rules[0], "network=app", state, verdict, NOW)
    assert incident is not None
    store.commit(found.rules[0], "network=app", state, verdict, NOW)  # killed and evaluated again
    return incident.id


def statuses(store: AlertStore) -> dict[str, str]:
    return {message.channel: message.status for message in store.messages()}


def test_a_webhook_is_signed_retried_and_delivered_once(store: AlertStore, receiver: Receiver) -> None:
    found = rules(receiver.url)
    name = open_incident(store, found)
    receiver.statuses = [503, 429]
    now = NOW
    for _ in range(12):
        deliver_due(store, found, "", now)
        now += timedelta(seconds=7)
    assert statuses(store)["hook"] == "sent"
    assert len(receiver.came) == 3
    headers, body = receiver.came[-1]
    assert headers["Idempotency-Key"] == f"{name}/hook"
    stamp = int(headers["Tally-Signature"].split(",")[0].removeprefix("t="))
    assert headers["Tally-Signature"] == signature(SECRET, stamp, body)
    told = json.loads(body)
    assert (told["rule"], told["group"], told["text"]) == ("r", "network=app", "events: nothing came in")


def test_what_cannot_succeed_is_given_up_and_said(store: AlertStore, receiver: Receiver) -> None:
    found = rules(receiver.url)
    open_incident(store, found)
    receiver.statuses = [302]
    deliver_due(store, found, "", NOW)
    assert statuses(store) == {"hook": "failed", "mail": "failed"}
    errors = {message.channel: message.error for message in store.messages()}
    assert "redirects are not followed" in errors["hook"]
    assert "TALLY_SMTP_URL" in errors["mail"]
    assert deliver_due(store, found, "", NOW + timedelta(days=1)) == 0
    assert len(receiver.came) == 1


def test_our_own_addresses_are_refused_unless_allowed(store: AlertStore, receiver: Receiver) -> None:
    found = rules(receiver.url, allow_private=False)
    open_incident(store, found)
    deliver_due(store, found, "", NOW)
    assert statuses(store)["hook"] == "failed"
    assert receiver.came == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "0.0.0.1", "100.64.0.1",
     "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "224.0.0.1", "2130706433"],
)  # fmt: skip
def test_no_spelling_of_a_private_address_is_public(host: str) -> None:
    with pytest.raises(DeliveryError):
        checked_address(host, 80, allow_private=False)


def test_public_addresses_are_public() -> None:
    assert checked_address("93.184.216.34", 443, allow_private=False) == "93.184.216.34"
    assert checked_address("2606:2800:220:1::1", 443, allow_private=False) == "2606:2800:220:1::1"


def test_nobody_listening_is_tried_again(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        post(f"http://127.0.0.1:{port}/", b"{}", {}, allow_private=True)
    assert not caught.value.final


class MailServer:
    """As much of SMTP as a client needs: takes mails on a port of its own, the first one not at once."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self._refuse = 1
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as talk:
                self._converse(talk)  # type: ignore[arg-type]  # a file of bytes

    def _converse(self, talk: object) -> None:
        def say(line: str) -> None:
            talk.write(line.encode() + b"\r\n")  # type: ignore[attr-defined]
            talk.flush()  # type: ignore[attr-defined]

        say("220 test")
        while line := talk.readline().decode().strip():  # type: ignore[attr-defined]
            word = line.upper().split(" ")[0]
            if word == "MAIL" and self._refuse:
                self._refuse -= 1
                say("451 later")
            elif word == "DATA":
                say("354 go on")
                mail = b""
                while not mail.endswith(b"\r\n.\r\n"):
                    mail += talk.readline()  # type: ignore[attr-defined]
                self.mails.append(mail.decode())
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 yes")


def test_a_mail_is_sent_once_to_everybody_and_again_when_the_server_says_later(
    store: AlertStore, receiver: Receiver
) -> None:
    found = rules(receiver.url)
    name = open_incident(store, found)
    server = MailServer()
    now = NOW
    try:
        for _ in range(6):
            deliver_due(store, found, f"smtp://127.0.0.1:{server.port}?from=tally@example.org", now)
            now += timedelta(seconds=7)
    finally:
        server.close()
    assert statuses(store) == {"hook": "sent", "mail": "sent"}
    assert len(server.mails) == 1
    assert "To: a@example.org, b@example.org" in server.mails[0]
    assert f"Message-ID: <{name}.mail@tally>" in server.mails[0]
    assert "Subject: [tally] r: events: nothing came in" in server.mails[0]
