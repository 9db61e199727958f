"""Dagster's daemon, code servers, run host and web server, PostgreSQL, S3 and Redis are killed: rows are still taken.

None of them is a station of an event, so rows are taken all the while. Recovery is until the rows that were sent after
the kill are archived on S3 by a run that the sensor asked for: the longest way through all of them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fault_report import Line, report
from whole_stack import Stack, wait_until_read

from resources.clickhouse import open_clickhouse

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]

VICTIMS = (
    "dagster-daemon", "code-realtime", "code-batch", "dagster-runs", "dagster-webserver", "postgresql", "s3", "redis",
    "auditor",
)  # fmt: skip
EACH = 100

_ARCHIVED = "SELECT sum(range_end - range_start) FROM archive_ranges FINAL WHERE retired = 0"


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Events of this hour, each of its own number."""
    at = datetime.now(UTC).isoformat()
    kinds = ("post.created", "reaction.added", "ad.clicked", "user.signed_in")
    return [
        {
            "event_id": f"01890000-0000-7000-8000-{number:012d}",
            "type": kinds[number % 4],
            "actor": f"u{number % 7}",
            "object": f"o{number % 5}",
            "occurred_at": at,
        }
        for number in range(first, first + count)
    ]


def wait_until_archived(stack: Stack, messages: int, seconds: float = 180) -> float:
    """Seconds until the archive accounts for so many positions of the log."""
    began = time.monotonic()
    while True:
        with open_clickhouse(f"http://127.0.0.1:{stack.ports['clickhouse']}/tally") as client:
            archived = int(client.query(_ARCHIVED).result_rows[0][0])
        taken = time.monotonic() - began
        if archived == messages:
            return taken
        assert archived < messages, f"{archived} of {messages} positions archived: some twice"
        assert taken < seconds, f"{archived} of {messages} positions archived after {taken:.0f} s"
        time.sleep(0.2)


def pid_of(stack: Stack, name: str) -> int:
    pids = {process["name"]: process["pid"] for process in stack.tally("status")["processes"]}
    return int(pids[name])


def test_what_orchestrates_is_killed(stack: Stack, record_property: Callable[[str, object], None]) -> None:
    stack.tally("up", "--engines", "servers")
    sent = stack.post(rows(0, EACH))["accepted"]
    wait_until_archived(stack, sent)
    for name in VICTIMS:
        killed = pid_of(stack, name)
        os.kill(killed, signal.SIGKILL)
        sent += stack.post(rows(sent, EACH))["accepted"]
        recovery = wait_until_archived(stack, sent)
        deadline = time.monotonic() + 120
        while pid_of(stack, name) in {killed, 0}:
            assert time.monotonic() < deadline, f"{name} was not started again"
        report(record_property, Line(f"{name} killed, until archived by a run", 1, EACH, 0, 0, recovery))
    wait_until_read(stack, sent)
    ledger = stack.tally("ledger")
    assert ledger["balanced"] is True
    hour = datetime.now(UTC).strftime("%Y-%m-%d")
    days = stack.tally("query", "events", "--grain", "total", "--from", hour)["rows"]
    assert [row["value"] for row in days] == [sent]
