"""What is too much gets the right status, and costs no memory."""

from __future__ import annotations

import gzip
import socket
import tracemalloc

import pytest
import zstandard

from resources.token_bucket import TokenBucket
from streaming.collector.body import RefusedRequestError, decompress
from streaming.collector.config import parse_write_keys
from streaming.collector.limits import ByteBudget

MIB = 1 << 20


_FAULTS = [
    (b"", {}, 400, "empty"),
    (b" \n ", {}, 400, "empty"),
    (b"[]", {}, 400, "empty"),
    (b'[{"a":1},', {}, 400, "truncated"),
    (b"[{}]", {"Content-Type": "application/xml"}, 415, "application/xml"),
    (b"[{}]", {"Content-Encoding": "br"}, 415, "br"),
    (gzip.compress(b"[{}]" * 1000)[:-9], {"Content-Encoding": "gzip"}, 400, "gzip: the stream is truncated"),
    (zstandard.compress(b"[{}]" * 1000)[:-3], {"Content-Encoding": "zstd"}, 400, "zstd: the stream is truncated"),
    (b"no gzip at all", {"Content-Encoding": "gzip"}, 400, "gzip"),
    (b"no zstd at all", {"Content-Encoding": "zstd"}, 400, "zstd"),
    (b"x" * (MIB + 1), {}, 413, "Content-Length"),
    (gzip.compress(b" " * (3 * MIB)), {"Content-Encoding": "gzip"}, 413, "inflates"),
    (zstandard.compress(b" " * (3 * MIB)), {"Content-Encoding": "zstd"}, 413, "inflates"),
    (b"[" + b",".join([b"{}"] * 51) + b"]", {}, 413, "51 rows"),
    (b"[{}]", {"X-Sent-At": "yesterday"}, 400, "X-Sent-At"),
]


def test_each_fault_has_its_status_and_names_the_cause(collector):
    client = collector(max_body_bytes=MIB, max_decoded_bytes=2 * MIB, max_rows=50)
    for content, headers, status, words in _FAULTS:
        answer = client.post("/v1/events", content=content, headers=headers)
        assert answer.status_code == status, (content[:40], headers, answer.text)
        assert words in answer.json()["message"], (content[:40], headers)


def test_a_body_without_length_is_measured_while_it_comes(collector):
    client = collector(max_body_bytes=MIB)
    answer = client.post("/v1/events", content=iter([b"[" + b" " * MIB, b" " * MIB]))
    assert answer.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_takes_no_more_memory_than_the_limit(encoding):
    bomb = b"\0" * (64 * MIB)
    packed = gzip.compress(bomb, 1) if encoding == "gzip" else zstandard.compress(bomb)
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(RefusedRequestError, match="inflates"):
            decompress(packed, encoding, 4 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


def test_a_slow_sender_is_cut_off(collector):
    client = collector(body_timeout=0.2)
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: secret\r\nContent-Length: 10\r\n\r\n[")
        connection.settimeout(30)
        assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]


def test_rate_limits_answer_429_with_a_time(collector, row):
    client = collector(rows_per_second=10, burst_seconds=1)
    assert client.post("/v1/events", json=[row() for _ in range(25)]).status_code == 200  # larger than the bucket
    answer = client.post("/v1/events", json=[row()])
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.post("/v1/events", json=[row()], headers={"X-Write-Key": "second"}).status_code == 200


def test_more_bytes_in_flight_than_allowed_are_put_off(collector, row):
    client = collector(max_in_flight_bytes=1000)
    answer = client.post("/v1/events", json=[row(properties={"text": "x" * 2000})])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.post("/v1/events", json=[row()]).status_code == 200  # what was held is free again


def test_lag_puts_requests_off(collector, row, eventually):
    client = collector(max_lag_messages=5)
    eventually(lambda: client.get("/readyz").status_code == 200)
    assert client.post("/v1/events", json=[row() for _ in range(10)]).status_code == 200
    eventually(lambda: client.get("/readyz").status_code == 503)
    answer = client.post("/v1/events", json=[row()])
    assert (answer.status_code, answer.json()["error"]) == (429, "lagging")
    assert "Retry-After" in answer.headers


def test_a_log_that_fails_is_503_and_acknowledges_nothing(collector, row, tmp_path):
    client = collector()
    assert client.post("/v1/events", json=[row()]).status_code == 200
    for file in tmp_path.glob("log.db*"):
        file.write_bytes(b"this is no database any more" * 500)
    answer = client.post("/v1/events", json=[row()])
    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers


def test_the_bucket_refills_and_never_locks_out_large_requests():
    now = [0.0]
    bucket = TokenBucket(10, 2, clock=lambda: now[0])
    assert bucket.take(50) == 0.0  # more than it can hold, and full: passes, in debt
    assert bucket.take(1) == pytest.approx(3.1)
    now[0] += 3.2
    assert bucket.take(1) == 0.0
    assert TokenBucket(0, 2).take(1e9) == 0.0


def test_the_budget_refuses_instead_of_queueing():
    budget = ByteBudget(100)
    assert budget.reserve(60)
    assert not budget.reserve(41)
    budget.release(60)
    assert budget.reserve(100)


@pytest.mark.parametrize("text", ["", "sesame", "=sesame", "demo=", "a=sesame,b"])
def test_write_keys_that_are_none_are_refused_without_showing_them(text):
    with pytest.raises(ValueError, match="write keys") as problem:
        parse_write_keys(text)
    assert "sesame" not in str(problem.value)
