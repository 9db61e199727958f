"""Inserts over HTTP: every format and coding, broken data, tokens."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

import httpx
import lz4.frame
import polars as pl
import pytest
import zstandard

FRAME = pl.DataFrame({"n": [1, 2, 3], "s": ["a", "ü\n", "it's"]}, schema={"n": pl.UInt64, "s": pl.String})


@pytest.fixture
def table(http: httpx.Client) -> str:
    http.post("/", content="CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n").raise_for_status()
    return "t"


def insert(http: httpx.Client, query: str, data: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    return http.post("/", params={"query": query}, content=data, headers=headers)


def rows(http: httpx.Client) -> list[list[object]]:
    answer = http.post("/", content="SELECT n, s FROM t ORDER BY n FORMAT JSONCompact").json()
    return [[int(n), s] for n, s in answer["data"]]


def arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["Native", "RowBinary", "JSONEachRow", "CSV", "TabSeparated", "ArrowStream", "Parquet"]
)
def test_what_a_query_writes_an_insert_reads(http: httpx.Client, table: str, name: str) -> None:
    source = "SELECT toUInt64(number + 1) AS n, ['a', 'ü\\n', 'it\\'s'][number + 1] AS s FROM numbers(3)"
    data = http.post("/", content=f"{source} FORMAT {name}").content
    assert insert(http, f"INSERT INTO {table} FORMAT {name}", data).status_code == 200
    assert rows(http) == [list(row) for row in FRAME.rows()]


@pytest.mark.parametrize(("name", "data"), [("ArrowStream", arrow(FRAME)), ("Parquet", parquet(FRAME))])
def test_polars_writes_what_an_insert_reads(http: httpx.Client, table: str, name: str, data: bytes) -> None:
    assert insert(http, f"INSERT INTO {table} FORMAT {name}", data).status_code == 200
    assert rows(http) == [list(row) for row in FRAME.rows()]


@pytest.mark.parametrize(
    "body",
    [
        "INSERT INTO t VALUES (1, 'a')",
        "INSERT INTO t (s, n) FORMAT Values ('a', 1)",
        "INSERT INTO t (n, s)\nFORMAT CSV\n1,a\n",
        'insert into t settings async_insert = 0 format JSONEachRow {"n":1,"s":"a"}',
        "/* who */ INSERT INTO TABLE `t` (`n`, `s`) SELECT 1, 'a'",
        "INSERT INTO t SELECT 1, 'a';",
    ],
)
def test_statement_and_data_may_share_the_body(http: httpx.Client, table: str, body: str) -> None:
    answer = http.post("/", content=body)
    assert answer.status_code == 200, answer.text
    assert rows(http) == [[1, "a"]]


def test_what_the_engine_would_silently_skip_is_refused(http: httpx.Client, table: str) -> None:
    answer = http.post("/", content="INSERT INTO t SELECT n, s FROM input('n UInt64, s String') FORMAT CSV\n1,a\n")
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (501, "48")


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_compressed_bodies(http: httpx.Client, table: str, coding: str) -> None:
    data = b"".join(b'{"n":%d,"s":"x"}\n' % n for n in range(20_000))
    encode = CODINGS[coding]
    answer = insert(http, "INSERT INTO t FORMAT JSONEachRow", encode(data), **{"content-encoding": coding})
    assert answer.status_code == 200, answer.text
    assert http.post("/", content="SELECT count(), sum(n) FROM t").text == "20000\t199990000\n"


def test_concatenated_members_are_one_body(http: httpx.Client, table: str) -> None:
    two = gzip.compress(b"1,a\n") + gzip.compress(b"2,b\n")
    insert(http, "INSERT INTO t FORMAT CSV", two, **{"content-encoding": "gzip"})
    assert rows(http) == [[1, "a"], [2, "b"]]


@pytest.mark.parametrize("coding", ["gzip", "zstd", "lz4", "deflate"])
def test_a_truncated_body_inserts_nothing(http: httpx.Client, table: str, coding: str) -> None:
    data = CODINGS[coding](b"".join(b"%d,x\n" % (n * 7919) for n in range(5000)))
    answer = insert(http, "INSERT INTO t FORMAT CSV", data[: len(data) // 2], **{"content-encoding": coding})
    assert answer.headers["x-clickhouse-exception-code"] == "271", answer.text
    assert coding in answer.text
    assert rows(http) == []


def test_a_body_in_another_coding_than_it_says(http: httpx.Client, table: str) -> None:
    answer = insert(http, "INSERT INTO t FORMAT CSV", b"1,a\n", **{"content-encoding": "gzip"})
    assert answer.headers["x-clickhouse-exception-code"] == "271"
    answer = insert(http, "INSERT INTO t FORMAT CSV", b"1,a\n", **{"content-encoding": "snappy9"})
    assert answer.headers["x-clickhouse-exception-code"] == "89"
    assert "snappy9" in answer.text


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("JSONEachRow", b'{"n":1,"s":"a"}\n{"n":"many","s":"b"}', 27),
        ("CSV", b"1,a\nx,b\n", 27),
        ("ArrowStream", arrow(FRAME)[:-40], 33),
        ("Native", b"\x02\x03\x01n\x06UInt64\x01", 33),
        ("Values", b"(1, 'a'), (oops, 'b')", 47),
        ("NoFormat", b"1", 73),
    ],
)
def test_broken_data_is_named_and_inserts_nothing(
    http: httpx.Client, table: str, name: str, data: bytes, code: int
) -> None:
    answer = insert(http, f"INSERT INTO t FORMAT {name}", data)
    assert answer.headers["x-clickhouse-exception-code"] == str(code), answer.text
    assert rows(http) == []
    assert insert(http, "INSERT INTO t FORMAT CSV", b"5,ok\n").status_code == 200  # the next one is not hurt


def test_an_empty_insert_is_no_error(http: httpx.Client, table: str) -> None:
    assert insert(http, "INSERT INTO t FORMAT JSONEachRow", b"").status_code == 200
    assert rows(http) == []


def test_a_row_of_ten_megabytes(http: httpx.Client, table: str) -> None:
    big = "é" * (5 << 20)
    data = b'{"n":1,"s":"%s"}\n{"n":2,"s":"small"}\n' % big.encode()
    assert insert(http, "INSERT INTO t FORMAT JSONEachRow", data).status_code == 200
    assert http.post("/", content="SELECT n, length(s) FROM t ORDER BY n").text == f"1\t{10 << 20}\n2\t5\n"
    assert http.post("/", content="SELECT s FROM t WHERE n = 1 FORMAT RowBinary").content[4:].decode() == big


def test_a_chunked_body_without_length(http: httpx.Client, table: str) -> None:
    pieces = (b"%d,%s\n" % (n, b"x" * 1000) for n in range(3000))
    assert insert(http, "INSERT INTO t FORMAT CSV", pieces).status_code == 200
    assert http.post("/", content="SELECT count(), sum(length(s)) FROM t").text == "3000\t3000000\n"


def test_a_token_makes_a_repeat_harmless_in_the_table_and_its_views(http: httpx.Client) -> None:
    for sql in (
        "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 10",
        "CREATE TABLE v (s String, c SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY s "
        "SETTINGS non_replicated_deduplication_window = 10",
        "CREATE MATERIALIZED VIEW mv TO v AS SELECT s, count() AS c FROM t GROUP BY s",
    ):
        http.post("/", content=sql).raise_for_status()
    params = {
        "query": "INSERT INTO t FORMAT CSV",
        "insert_deduplication_token": "batch-1",
        "deduplicate_blocks_in_dependent_materialized_views": "1",
    }
    for _ in range(3):
        http.post("/", params=params, content=b"1,a\n2,a\n").raise_for_status()
    assert http.post("/", content="SELECT count() FROM t").text == "2\n"
    assert http.post("/", content="SELECT sum(c) FROM v").text == "2\n"


def test_the_statistics_of_an_insert_count_its_rows(http: httpx.Client, table: str) -> None:
    answer = insert(http, "INSERT INTO t FORMAT CSV", b"1,a\n2,b\n")
    assert '"written_rows": "2"' in answer.headers["x-clickhouse-summary"]
