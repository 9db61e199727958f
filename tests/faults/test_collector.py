"""The collector may be killed around its append: what it acknowledged is in the log, and sending again is harmless."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid

import httpx
import pytest

from contracts.event_types import TOPICS
from resources.event_log.base import OffsetRange


def ids_in(event_log):
    places = [OffsetRange(t, p, *bounds) for t in TOPICS for p, bounds in event_log.watermarks(t).items()]
    return [json.loads(value)["event_id"] for chunk in event_log.read(places) for value in chunk.values]


def rows(count):
    kinds = ("reaction.added", "ad.clicked")
    return [
        {"event_id": str(uuid.uuid4()), "type": kinds[n % 2], "actor": f"a{n}", "occurred_at": "2026-03-01T10:00:00Z"}
        for n in range(count)
    ]


def test_killed_around_the_append(start_collector, event_log):
    """No answer means: send again. Whatever was appended before comes again as the same id, never as another."""
    sent = rows(20)
    expected = {"intake.before_append": 0, "intake.between_topics": 10, "intake.after_append": 20}
    for point, appended in expected.items():
        process, client = start_collector(crash_at=point)
        before = len(ids_in(event_log))
        with pytest.raises(httpx.TransportError):
            client.post("/v1/events", json=sent)
        assert process.wait(timeout=60) == -signal.SIGKILL
        assert len(ids_in(event_log)) - before == appended
    _, client = start_collector()
    assert client.post("/v1/events", json=sent).json()["accepted"] == 20
    assert set(ids_in(event_log)) == {row["event_id"] for row in sent}


def test_sigkill_under_load_loses_nothing_that_was_acknowledged(start_collector, event_log):
    process, client = start_collector()
    acknowledged = set()
    while len(acknowledged) < 1_000:
        batch = rows(20)
        assert client.post("/v1/events", json=batch).status_code == 200
        acknowledged |= {row["event_id"] for row in batch}
    process.kill()
    process.wait()
    assert acknowledged <= set(ids_in(event_log))


def test_sigterm_answers_what_is_running_and_ends_with_zero(start_collector, event_log):
    process, client = start_collector()
    batch = rows(20)
    assert client.post("/v1/events", json=batch).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert set(ids_in(event_log)) == {row["event_id"] for row in batch}


def test_a_port_in_use_is_named(start_collector, collector_command, log_url):
    _, client = start_collector()
    command = [*collector_command(log_url), str(client.base_url.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode != 0
    assert f"cannot listen on 127.0.0.1:{client.base_url.port}" in second.stderr
