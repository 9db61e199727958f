"""Queries over HTTP: where they may stand, what they may set, how they answer."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest


def test_health_checks_answer_ok(http: httpx.Client) -> None:
    for path in ("/ping", "/replicas_status", "/"):
        assert (http.get(path).status_code, http.get(path).text) == (200, "Ok.\n")


def test_an_unknown_path_and_method_are_refused(http: httpx.Client) -> None:
    assert http.get("/dashboards").status_code == 404
    assert http.delete("/").status_code == 405


def test_curl_reads_and_writes_as_with_a_server(clickhouse_server: str) -> None:
    def curl(*arguments: str) -> str:
        return subprocess.run(
            ["curl", "-sS", "--fail-with-body", *arguments], capture_output=True, text=True, check=True
        ).stdout

    assert curl(f"{clickhouse_server}/?query=SELECT%201") == "1\n"
    assert curl(clickhouse_server, "-d", "SELECT 'a\tb' AS x FORMAT JSONEachRow") == '{"x":"a\\tb"}\n'
    curl(clickhouse_server, "-d", "CREATE TABLE IF NOT EXISTS by_curl (n UInt8) ENGINE = Memory")
    curl(f"{clickhouse_server}/?query=INSERT%20INTO%20by_curl%20FORMAT%20CSV", "--data-binary", "1\n2\n")
    curl(f"{clickhouse_server}/?query=INSERT%20INTO%20by_curl%20VALUES", "--data-binary", "(3),(4)")
    assert curl(clickhouse_server, "-d", "SELECT sum(n) FROM by_curl") == "10\n"
    curl(clickhouse_server, "-d", "DROP TABLE by_curl")


def test_query_may_stand_in_the_url_the_body_or_both(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 2"}).text == "2\n"
    assert http.post("/", content="SELECT 3;").text == "3\n"
    assert http.post("/", params={"query": "SELECT 4 +"}, content="5").text == "9\n"


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("-- what\nSELECT /* ; */ 'a;b' -- end", "a;b\n"),
        ("WITH x AS (SELECT 1 AS format) SELECT format FROM x", "1\n"),
        ("SELECT 1 AS format SETTINGS max_threads = 1 FORMAT CSV", "1\n"),
        ("SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1", '{"a":1}\n'),
        ("(SELECT 1) UNION ALL (SELECT 1) FORMAT TSV", "1\n1\n"),
        ("SELECT 'FORMAT JSON', $$it's$$ # comment", "FORMAT JSON\tit\\'s\n"),
        ("FROM numbers(2) SELECT number", "0\n1\n"),
        ("SELECT count() FROM numbers(3) WHERE number IN (1, 2) FORMAT TabSeparatedWithNames", "count()\n2\n"),
    ],
)
def test_the_grammar_around_a_query_is_understood(http: httpx.Client, sql: str, answer: str) -> None:
    assert http.post("/", content=sql).text == answer


def test_parameters_are_typed_and_cannot_be_broken_out_of(http: httpx.Client) -> None:
    sql = "SELECT {n:UInt8} + 1, {s:String}, {a:Array(String)}, {t:DateTime('UTC')} FORMAT JSONCompactEachRow"
    params = {
        "param_n": "41",
        "param_s": "it's\\t; DROP -- ü",
        "param_a": "['x','y']",
        "param_t": "2026-01-02 03:04:05",
    }
    assert http.post("/", content=sql, params=params).json() == [
        42,
        "it's\t; DROP -- ü",
        ["x", "y"],
        "2026-01-02 03:04:05",
    ]
    bad = http.post("/", content="SELECT {n:UInt8}", params={"param_n": "many"})
    assert bad.headers["x-clickhouse-exception-code"] == "457"
    assert "many" in bad.text


def test_identifiers_may_be_parameters_of_an_insert(http: httpx.Client) -> None:
    http.post("/", content="CREATE TABLE here (n UInt8) ENGINE = Memory")
    insert = {"query": "INSERT INTO {t:Identifier} FORMAT CSV", "param_t": "here"}
    assert http.post("/", params=insert, content="7\n").status_code == 200
    assert http.post("/", content="SELECT n FROM here").text == "7\n"


def test_settings_hold_for_one_request(http: httpx.Client) -> None:
    ask = "SELECT getSetting('max_block_size')"
    assert http.post("/", content=ask, params={"max_block_size": "1234"}).text == "1234\n"
    assert http.post("/", content=ask).text != "1234\n"
    http.post("/", content="SET max_block_size = 99")
    assert http.post("/", content=ask).text != "99\n"


@pytest.mark.parametrize("name", ["no_such_setting", "max_threads; DROP", "1x"])
def test_an_unknown_setting_is_named(http: httpx.Client, name: str) -> None:
    answer = http.post("/", content="SELECT 1", params={name: "1"})
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (404, "115")
    assert name in answer.text


def test_get_changes_nothing(http: httpx.Client) -> None:
    for sql in ("CREATE TABLE t (n UInt8) ENGINE = Memory", "INSERT INTO t VALUES (1)", "DROP DATABASE default"):
        answer = http.get("/", params={"query": sql})
        assert answer.headers["x-clickhouse-exception-code"] == "164", answer.text
    assert http.get("/", params={"query": "SELECT 1", "max_threads": "1"}).text == "1\n"


def test_database_comes_from_url_or_header(http: httpx.Client) -> None:
    ask = "SELECT currentDatabase()"
    assert http.post("/", content=ask).text.startswith("http_")
    assert http.post("/", content=ask, params={"database": "system"}).text == "system\n"
    assert http.post("/", content=ask, params={"database": "nowhere"}).status_code == 404


def test_format_comes_from_query_url_or_header(http: httpx.Client) -> None:
    sql = "SELECT 1 AS a"
    assert http.post("/", content=sql, params={"default_format": "JSONEachRow"}).text == '{"a":1}\n'
    assert http.post("/", content=sql, headers={"x-clickhouse-format": "CSVWithNames"}).text == '"a"\n1\n'
    both = http.post("/", content=f"{sql} FORMAT TSV", params={"default_format": "JSON"})
    assert (both.text, both.headers["x-clickhouse-format"]) == ("1\n", "TSV")
    assert (
        http.post("/", content=sql, params={"default_format": "Nonsense"}).headers["x-clickhouse-exception-code"]
        == "73"
    )


def test_headers_tell_what_was_done(http: httpx.Client) -> None:
    http.post("/", content="CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    wrote = http.post(
        "/", params={"query": "INSERT INTO t FORMAT RowBinary", "query_id": "mine"}, content=bytes(range(1, 9)) * 100
    )
    assert wrote.headers["x-clickhouse-query-id"] == "mine"
    assert json.loads(wrote.headers["x-clickhouse-summary"])["written_rows"] == "100"
    read = http.post("/", content="SELECT n FROM t")
    summary = json.loads(read.headers["x-clickhouse-summary"])
    assert (summary["read_rows"], summary["read_bytes"], summary["result_rows"]) == ("100", "800", "100")
    assert read.headers["x-clickhouse-timezone"].endswith("UTC")
    assert read.headers["content-type"].startswith("text/tab-separated-values")
    assert read.headers["x-clickhouse-server-display-name"]
    assert len(read.headers["x-clickhouse-query-id"]) == 36


def test_head_answers_without_a_body(http: httpx.Client) -> None:
    assert http.head("/ping").status_code == 200
    assert http.head("/", params={"query": "SELECT 1"}).content == b""


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("1 + 1", 400, 62),
        ("", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("CREATE TABLE a (n UInt8) ENGINE = Memory; DROP TABLE a", 400, 62),
        ("INSERT INTO a SELECT 1; SELECT 2", 400, 62),
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT nothing FROM system.one", 404, 47),
        ("SELECT nofunction(1)", 404, 46),
        ("INSERT INTO nowhere VALUES (1)", 404, 60),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT throwIf(1, 'stop here')", 500, 395),
        ("SELECT 1 INTO OUTFILE '/tmp/x.csv'", 500, 358),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", 500, 358),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1, function_sleep_max_microseconds_per_block = 0", 408, 159),
        ("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000", 500, 241),
    ],
)
def test_errors_are_the_servers(http: httpx.Client, sql: str, status: int, code: int) -> None:
    answer = http.post("/", content=sql)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert answer.text.count("(version ") == 1


def test_bytes_that_are_no_text_pass_through(http: httpx.Client) -> None:
    assert http.post("/", content=b"SELECT '\xff\x00\xfe' FORMAT RowBinary").content == b"\x03\xff\x00\xfe"


def test_a_statement_may_be_long_but_not_endless(http: httpx.Client) -> None:
    many = ", ".join(str(n) for n in range(20_000))
    assert http.post("/", content=f"SELECT count() FROM numbers(50000) WHERE number IN ({many})").text == "20000\n"
    huge = http.post("/", content=b"SELECT 1 -- " + b"x" * (17 << 20))
    assert (huge.status_code, huge.headers["x-clickhouse-exception-code"]) == (413, "229")


def test_native_block_compression_is_refused_by_name(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT 1", params={"compress": "1"})
    assert answer.status_code == 501
    assert "Accept-Encoding" in answer.text
