"""Sessions: what stays between requests, what does not, who may use them."""

from __future__ import annotations

import threading
import time

import httpx


def test_temporary_tables_and_set_stay_in_their_session(http: httpx.Client) -> None:
    one, other = {"session_id": "a"}, {"session_id": "b"}
    http.post("/", content="CREATE TEMPORARY TABLE mine (n UInt8)", params=one).raise_for_status()
    http.post("/", content="INSERT INTO mine VALUES (7)", params=one).raise_for_status()
    http.post("/", content="SET max_block_size = 77", params=one).raise_for_status()
    assert http.post("/", content="SELECT n, getSetting('max_block_size') FROM mine", params=one).text == "7\t77\n"
    assert http.post("/", content="SELECT n FROM mine", params=other).status_code == 404
    assert http.post("/", content="SELECT n FROM mine").status_code == 404


def test_settings_in_the_url_leave_a_session_as_it_was(http: httpx.Client) -> None:
    session = {"session_id": "c"}
    ask = "SELECT getSetting('max_block_size'), currentDatabase()"
    mine = http.post("/", content="SELECT currentDatabase()").text
    http.post("/", content="SET max_block_size = 55", params=session)
    there = {**session, "max_block_size": "66", "database": "system"}
    assert http.post("/", content=ask, params=there).text == "66\tsystem\n"
    assert http.post("/", content=ask, params=session).text == f"55\t{mine}"
    assert http.post("/", content=ask, params=session).text == f"55\t{mine}"


def test_use_stays_where_the_request_names_no_database(clickhouse_server: str) -> None:
    with httpx.Client(base_url=clickhouse_server) as plain:
        session = {"session_id": "use"}
        plain.post("/", content="USE system", params=session).raise_for_status()
        plain.post("/", content="SELECT 1", params={**session, "database": "default"}).raise_for_status()
        assert plain.post("/", content="SELECT currentDatabase()", params=session).text == "system\n"


def test_a_busy_session_is_locked(http: httpx.Client) -> None:
    session = {"session_id": "d"}
    slow = "SELECT sleepEachRow(0.5) FROM numbers(2) SETTINGS max_block_size = 1"
    thread = threading.Thread(target=lambda: http.post("/", content=slow, params=session))
    thread.start()
    time.sleep(0.3)
    answer = http.post("/", content="SELECT 1", params=session)
    thread.join()
    assert answer.headers["x-clickhouse-exception-code"] == "373"
    assert http.post("/", content="SELECT 1", params=session).text == "1\n"


def test_a_session_ends_after_its_timeout(http: httpx.Client) -> None:
    session = {"session_id": "e", "session_timeout": "3"}
    http.post("/", content="SET max_block_size = 44", params=session)
    assert http.post("/", content="SELECT 1", params={**session, "session_check": "1"}).status_code == 200
    time.sleep(3.2)
    gone = http.post("/", content="SELECT 1", params={**session, "session_check": "1"})
    assert gone.headers["x-clickhouse-exception-code"] == "372"


def test_a_senseless_timeout_is_named(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT 1", params={"session_id": "f", "session_timeout": "never"})
    assert answer.headers["x-clickhouse-exception-code"] == "374"
    assert "never" in answer.text


def test_a_failed_statement_does_not_cost_the_session(http: httpx.Client) -> None:
    session = {"session_id": "g"}
    http.post("/", content="SET max_block_size = 33", params=session)
    assert http.post("/", content="SELECT nothing", params=session).status_code == 404
    assert http.post("/", content="SELECT 1", params={**session, "no_such_setting": "1"}).status_code == 404
    assert http.post("/", content="SELECT getSetting('max_block_size')", params=session).text == "33\n"
