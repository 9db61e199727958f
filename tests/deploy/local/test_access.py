"""No statement reaches a file of the machine or another address, whoever sends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

SECRET = "do not read me"
SOURCES = [
    "SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM default.`{path}`",
    "SELECT * FROM url('file://{path}', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:9/bucket/key', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:9', 'system', 'one')",
    "SELECT * FROM sqlite('{path}', 't')",
    "SELECT * FROM loop(file('{path}', 'LineAsString'))",
    "DESCRIBE TABLE file('{path}')",
    "SELECT file('{path}')",
    "SELECT \"file\"('{path}')",
    "SELECT `fi\\x6ce`('{path}')",
    "SELECT * APPLY file FROM (SELECT '{path}')",
    "SELECT arrayMap(file, ['{path}'])",
    "SELECT /* ' */ file('{path}')",
    "EXPLAIN SELECT file('{path}')",
]
DEFINITIONS = [
    "CREATE TABLE f (line String) ENGINE = File('LineAsString', '{path}')",
    "CREATE TABLE f (line String) ENGINE = URL('http://127.0.0.1:9/', 'LineAsString')",
    "CREATE DATABASE f ENGINE = Filesystem('/')",
    "CREATE DICTIONARY f (k UInt64, v String) PRIMARY KEY k SOURCE(HTTP(url 'http://127.0.0.1:9/' format 'CSV'))"
    " LAYOUT(FLAT()) LIFETIME(0)",
    "INSERT INTO FUNCTION file('{path}.out', 'LineAsString') SELECT 'x'",
    "CREATE FUNCTION reader AS (x) -> file(x)",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "secret.txt"
    made.write_text(SECRET)
    return made


@pytest.mark.parametrize("how", [{}, {"readonly": "1"}, {"readonly": "2"}])
def test_a_question_reads_neither_files_nor_addresses(http: httpx.Client, path: Path, how: dict[str, str]) -> None:
    for statement in SOURCES:
        answer = http.post("/", params=how, content=statement.format(path=path))
        assert answer.status_code >= 400, (statement, answer.text)
        assert SECRET not in answer.text, statement
        named = ("ACCESS_DENIED", "READONLY", "UNKNOWN_TABLE")
        assert any(name in answer.text for name in named), (statement, answer.text)


def test_neither_does_a_definition_and_none_writes_a_file(http: httpx.Client, path: Path) -> None:
    for statement in DEFINITIONS:
        answer = http.post("/", content=statement.format(path=path))
        assert (answer.status_code, "ACCESS_DENIED" in answer.text) == (403, True), (statement, answer.text)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_inserted_values_are_no_way_round(http: httpx.Client, path: Path) -> None:
    http.post("/", content="CREATE TABLE line (s String) ENGINE = Memory").raise_for_status()
    for rows in (1, 100_000):  # one that is checked, and one too long to be looked at as a whole
        values = ",".join([f"(file('{path}'))", *["('what a literal is')"] * rows])
        answer = http.post("/", content=f"INSERT INTO line VALUES {values}")
        assert answer.status_code >= 400, answer.text
    assert http.post("/", content="SELECT count() FROM line").text == "0\n"
    http.post("/", content="INSERT INTO line VALUES ('a file'), (concat('b', 'c'))").raise_for_status()
    assert http.post("/", content="SELECT s FROM line ORDER BY s").text == "a file\nbc\n"


def test_tables_of_the_default_database_survive_a_restart(tmp_path: Path, start_clickhouse: Callable[..., Any]) -> None:
    """The engine lays a folder under `default`, which is taken away at each start: what was made in it must stay."""
    for total in ("2", "4"):
        process, url = start_clickhouse(tmp_path / "data")
        with httpx.Client(base_url=url, timeout=30) as client:
            client.post("/", content="CREATE TABLE IF NOT EXISTS n (n UInt8) ENGINE = MergeTree ORDER BY n")
            client.post("/", content="INSERT INTO n VALUES (1), (2)").raise_for_status()
            assert client.post("/", content="SELECT count() FROM n").text == f"{total}\n"
        process.terminate()
        assert process.wait(60) == 0


def test_a_column_and_a_text_of_that_name_are_no_function(http: httpx.Client) -> None:
    statement = "SELECT t.file, 'file(1)' FROM (SELECT 7 AS {name:Identifier}) AS t"
    answer = http.post("/", params={"param_name": "file"}, content=statement)
    assert answer.text == "7\tfile(1)\n"
