"""Long answers: bounded memory, errors on the way, KILL QUERY, clients that leave."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator

import httpx
import lz4.frame
import pytest
import zstandard

SLOW = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"


def running(http: httpx.Client, text: str) -> int:
    sql = "SELECT count() FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%system.processes%'"
    return int(http.post("/", content=sql, params={"param_like": f"%{text}%"}).text)


def wait_for(http: httpx.Client, text: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while running(http, text) != count:
        assert time.monotonic() < deadline, f"{running(http, text)} queries like {text}, not {count}"
        time.sleep(0.02)


@pytest.fixture
def slow(http: httpx.Client) -> Iterator[dict[str, httpx.Response]]:
    """A query that ends only when killed; its answer appears under 'answer'."""
    box: dict[str, httpx.Response] = {}

    def ask() -> None:
        box["answer"] = http.post("/", content=SLOW, params={"query_id": f"slow-{id(box)}"}, timeout=60)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(http, "sipHash64", 1)
    box["query_id"] = f"slow-{id(box)}"  # type: ignore[assignment]  # a box for both is simplest
    yield box
    http.post("/", content="KILL QUERY WHERE query LIKE '%sipHash64%'")
    thread.join(20)
    assert not thread.is_alive()


def test_kill_query_finds_the_clients_own_id(http: httpx.Client, slow: dict[str, httpx.Response]) -> None:
    killed = http.post("/", content=f"KILL QUERY WHERE query_id = '{slow['query_id']}' SYNC")
    assert killed.status_code == 200
    wait_for(http, "sipHash64", 0)
    deadline = time.monotonic() + 30
    while "answer" not in slow and time.monotonic() < deadline:
        time.sleep(0.01)
    assert slow["answer"].headers["x-clickhouse-exception-code"] == "394"


def test_others_go_on_beside_a_slow_query(http: httpx.Client, slow: dict[str, httpx.Response]) -> None:
    for _ in range(5):
        assert http.post("/", content="SELECT 1").text == "1\n"
    assert "answer" not in slow, "it is still running"
    again = http.post("/", content="SELECT 1", params={"query_id": str(slow["query_id"])})
    assert again.headers["x-clickhouse-exception-code"] == "216"


def test_a_client_that_leaves_stops_its_query(http: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        http.post("/", content=SLOW.replace("= 1", "= 2"), timeout=0.3)
    wait_for(http, "sipHash64", 0)


def test_a_client_that_leaves_a_stream_stops_its_query(http: httpx.Client) -> None:
    with http.stream("POST", "/", content="SELECT number FROM numbers(100000000000) FORMAT RowBinary") as answer:
        assert len(next(answer.iter_raw(1 << 20))) == 1 << 20
    wait_for(http, "100000000000", 0)


def test_a_client_that_leaves_an_insert_leaves_nothing(http: httpx.Client) -> None:
    http.post("/", content="CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").raise_for_status()

    def body() -> Iterator[bytes]:
        yield b"\x01" * 80_000
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        http.post("/", params={"query": "INSERT INTO t FORMAT RowBinary"}, content=body())
    wait_for(http, "INSERT INTO t", 0)
    assert http.post("/", content="SELECT count() FROM t").text == "0\n"


@pytest.mark.parametrize("name", ["JSONEachRow", "JSON", "ArrowStream", "CSVWithNames", "Native", "Parquet"])
def test_long_answers_are_well_formed_in_every_format(http: httpx.Client, name: str) -> None:
    sql = f"SELECT number AS n, toString(number) AS s FROM numbers(300000) FORMAT {name}"
    streamed = http.post("/", content=sql, params={"buffer_size": "1000"})
    assert "content-length" not in streamed.headers
    held = http.post("/", content=sql, params={"wait_end_of_query": "1"})
    assert '"result_rows": "300000"' in held.headers["x-clickhouse-summary"]
    for answer in (streamed, held):
        http.post("/", content="DROP TABLE IF EXISTS back")
        http.post("/", content="CREATE TABLE back (n UInt64, s String) ENGINE = Memory").raise_for_status()
        http.post("/", params={"query": f"INSERT INTO back FORMAT {name}"}, content=answer.content).raise_for_status()
        assert (
            http.post("/", content="SELECT count(), sum(n), uniqExact(s) FROM back").text
            == "300000\t44999850000\t300000\n"
        )


def test_an_error_after_the_first_byte_arrives_as_a_tagged_frame(http: httpx.Client) -> None:
    sql = "SELECT throwIf(number = 900000, 'too far') FROM numbers(1000000) SETTINGS max_block_size = 10000 FORMAT TSV"
    seen = b""
    with http.stream("POST", "/", content=sql, params={"buffer_size": "100"}) as answer:
        assert answer.status_code == 200
        tag = answer.headers["x-clickhouse-exception-tag"].encode()
        parts = answer.iter_raw()
        broken = False
        while not broken:
            try:
                seen += next(parts)
            except httpx.RemoteProtocolError:
                broken = True  # as it must: the answer must not look complete, which would be a StopIteration
    assert b"__exception__\r\n" + tag in seen
    assert b"Code: 395. DB::Exception: too far" in seen


def test_wait_end_of_query_gives_such_an_error_its_status(http: httpx.Client) -> None:
    sql = "SELECT throwIf(number = 900000, 'too far') FROM numbers(1000000) SETTINGS max_block_size = 10000 FORMAT TSV"
    assert http.post("/", content=sql, params={"wait_end_of_query": "1"}).status_code == 500


def test_answers_are_compressed_when_asked(http: httpx.Client) -> None:
    sql = "SELECT number FROM numbers(400000)"
    plain = http.post("/", content=sql).content
    decoders = {"gzip": gzip.decompress, "zstd": _unzstd, "lz4": lz4.frame.decompress}
    for coding, decode in decoders.items():
        for extra in ({}, {"wait_end_of_query": "1"}):
            params = {"enable_http_compression": "1", **extra}
            with http.stream("POST", "/", content=sql, params=params, headers={"accept-encoding": coding}) as answer:
                raw = b"".join(answer.iter_raw())
                assert answer.headers["content-encoding"] == coding
            assert len(raw) < len(plain)
            assert decode(raw) == plain
    with http.stream("POST", "/", content=sql, headers={"accept-encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers  # as a server: only with the setting


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def test_errors_are_never_compressed(http: httpx.Client) -> None:
    params = {"enable_http_compression": "1"}
    answer = http.post("/", content="SELECT nothing", params=params, headers={"accept-encoding": "lz4"})
    assert answer.text.startswith("Code: 47")
