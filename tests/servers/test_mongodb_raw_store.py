"""The MongoDB raw store behind a network that fails: answers lost after the write, connections cut before it.

Needs `TALLY_TEST_MONGODB_URL` (`mongodb://host:port`, no database). With it set, the contract suite in
tests/resources/raw_store runs on MongoDB too.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import polars as pl
import pytest

from contracts.envelope import SCHEMA_VERSION, STORED_SCHEMA
from resources.raw_store import PositionRange, RawStoreUnavailableError, VerdictCounts, open_raw_store

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif("TALLY_TEST_MONGODB_URL" not in os.environ, reason="TALLY_TEST_MONGODB_URL names no server"),
]
_LARGE = 4_000  # bytes: only writes of batches are as long
HOUR = datetime(2024, 5, 1, 12, tzinfo=UTC)


class FailingNetwork:
    """A relay to the server that can cut the connection of the next write: before it, or before its answer."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lose: Literal["", "write", "answer"] = ""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection. A batch fits into one read, so that cutting after it is cutting after the request."""
        with client, socket.create_connection(self._server) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 20)
                    lose = self.lose if source is client and len(data) > _LARGE else ""
                    if lose:
                        self.lose = ""
                    if not data or lose == "write":
                        return
                    (server if source is client else client).sendall(data)
                    if lose == "answer":
                        server.recv(1 << 20)  # the server has done it; nobody will hear of it
                        return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def network() -> Iterator[FailingNetwork]:
    parts = urlsplit(os.environ["TALLY_TEST_MONGODB_URL"])
    relay = FailingNetwork(parts.hostname or "127.0.0.1", parts.port or 27017)
    yield relay
    relay.close()


def _events(start: int, ids: list[str]) -> pl.DataFrame:
    count = len(ids)
    values: dict[str, Any] = {
        "workspace": ["acme"] * count,
        "event_id": ids,
        "properties": ["{}"] * count,
        "topics": [[]] * count,
        **{name: [HOUR] * count for name in ("occurred_at", "received_at", "event_time")},
        "schema_version": [SCHEMA_VERSION] * count,
        "log_topic": ["content-events"] * count,
        "log_partition": [0] * count,
        "log_offset": list(range(start, start + count)),
    }
    return pl.DataFrame({**{name: [""] * count for name in STORED_SCHEMA}, **values}, schema=STORED_SCHEMA)


def test_twenty_lost_answers_and_cut_requests_leave_every_row_once(network: FailingNetwork) -> None:
    """Each batch is repeated until it is answered; every third row has an id met before."""
    database = f"tally_test_{uuid.uuid4().hex[:12]}"
    store = open_raw_store(f"mongodb://127.0.0.1:{network.port}/{database}?retryWrites=false")
    store.ensure_schema()
    failures = 0
    for number in range(20):
        ids = [f"id-{number}-{n}" if n % 3 else f"id-0-{n + 1}" for n in range(99)]
        batch = _events(number * 99, ids)
        network.lose = "answer" if number % 2 else "write"
        for _ in range(5):
            try:
                counts = store.put_events(batch)
                break
            except RawStoreUnavailableError:
                failures += 1
        else:
            pytest.fail("the store never answered")
        assert counts == VerdictCounts(66, 33, 0)
    assert failures == 20
    where = PositionRange("content-events", 0, 0, 20 * 99)
    assert store.verdicts([where])[where] == VerdictCounts(20 * 66, 20 * 33, 0)
    assert store.missing_offsets(where) == []
    assert sum(frame.height for frame in store.read_events([where])) == 20 * 66
    store.close()
