"""Answers that get lost on the way: the insert happened, and nobody was told."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

import pytest

from streaming.sources.files import wait_until_processed
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker


class LossyProxy:
    """Forwards TCP to a ClickHouse; swallows the answers of the next `lose` INSERTs and cuts the connection."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.lose = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        is_insert = threading.Event()
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as upstream:
            threading.Thread(target=self._send_on, args=(client, upstream, is_insert), daemon=True).start()
            while answer := upstream.recv(65536):
                if is_insert.is_set() and self.lose > 0:
                    self.lose -= 1
                    break
                client.sendall(answer)
            for side in (client, upstream):  # a close alone would wait for the other thread's recv
                side.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _send_on(client: socket.socket, upstream: socket.socket, is_insert: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(65536):
                if request.startswith((b"POST ", b"GET ")):
                    is_insert.clear()
                if b"INSERT" in request:
                    is_insert.set()
                upstream.sendall(request)


@pytest.fixture
def proxy(clickhouse_url):
    parts = urlsplit(clickhouse_url)
    lossy = LossyProxy(parts.hostname, parts.port)
    yield lossy
    lossy.close()


def test_twenty_lost_answers_neither_lose_nor_double_a_row(
    proxy, source, event_log, whole_log, log_url, clickhouse, clickhouse_url
):
    database = urlsplit(clickhouse_url).path
    stop = threading.Event()
    url = f"http://127.0.0.1:{proxy.port}{database}"
    config = WorkerConfig("live", log_url, clickhouse_url=url, topic_partitions=2, linger=0.01)
    thread = threading.Thread(target=run_worker, args=(config, stop))
    thread.start()
    try:
        for _ in range(10):
            proxy.lose = 2
            source.send(20)
            assert wait_until_processed(event_log, ["live"], whole_log(), timeout=30)
            assert proxy.lose == 0
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()
    stored, duplicate, quarantined = source.expected
    assert clickhouse.query("SELECT count(), uniqExact(event_id) FROM events").result_rows == [(stored, stored)]
    assert clickhouse.query("SELECT sum(events) FROM live_progress").result_rows == [(stored,)]
    minutes = "SELECT sum(events) FROM live_engagement_minute WHERE dimension = 'all'"
    assert clickhouse.query(minutes).result_rows == [(stored,)]
    rejects = clickhouse.query("SELECT countIf(verdict = 'duplicate'), count() FROM live_rejects FINAL").result_rows
    assert rejects == [(duplicate, duplicate + quarantined)]
