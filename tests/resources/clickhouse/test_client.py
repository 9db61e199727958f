"""Opening ClickHouse, and the question "is it worth trying again?"."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from resources.clickhouse import (
    ClickHouseUnavailableError,
    is_transient,
    log_comment,
    open_clickhouse,
    wait_until_ready,
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_url_that_is_none_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match="ftp://me:") as caught:
        open_clickhouse("ftp://me:s3cret@host/db")
    assert "s3cret" not in str(caught.value)


def test_a_store_that_is_down_is_transient_and_named_without_its_password() -> None:
    with pytest.raises(ClickHouseUnavailableError, match=r"127\.0\.0\.1") as caught:
        open_clickhouse(f"http://me:s3cret@127.0.0.1:{free_port()}/tally")
    assert "s3cret" not in str(caught.value)
    assert is_transient(caught.value)


def test_waiting_ends_when_the_engine_answers(tmp_path: Path, start_clickhouse: Callable[..., object]) -> None:
    port = free_port()
    threading.Timer(0.3, start_clickhouse, (tmp_path / "data", "--port", str(port))).start()
    with wait_until_ready(f"http://127.0.0.1:{port}/not_there_yet", timeout=60) as client:
        assert client.command("SELECT 1") == 1


def test_waiting_ends_after_its_time() -> None:
    started = time.monotonic()
    with pytest.raises(ClickHouseUnavailableError):
        wait_until_ready(f"http://127.0.0.1:{free_port()}/tally", timeout=0.3)
    assert time.monotonic() - started < 15


def test_the_password_may_come_from_the_environment(
    tmp_path: Path, start_clickhouse: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = start_clickhouse(tmp_path / "data", env={"TALLY_CLICKHOUSE_PASSWORD": "p@ss/ü"})
    with pytest.raises(ClickHouseError) as caught:
        open_clickhouse(url)
    assert not is_transient(caught.value)
    with open_clickhouse(url.replace("//", "//me:p%40ss%2F%C3%BC@")) as client:
        assert client.command("SELECT 1") == 1
    monkeypatch.setenv("TALLY_CLICKHOUSE_PASSWORD", "p@ss/ü")
    with open_clickhouse(url) as client:
        assert client.command("SELECT 1") == 1


@pytest.mark.parametrize(
    ("sql", "transient"),
    [
        ("SELECT nothing", False),
        ("SELEC", False),
        ("SELECT * FROM nowhere", False),
        ("SELECT throwIf(1, 'code 202 in a text')", False),
        ("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000", False),
        ("SELECT sleep(2) SETTINGS max_execution_time = 0.1", True),
    ],
)
def test_errors_of_statements_are_told_apart(clickhouse_server: str, sql: str, transient: bool) -> None:
    with open_clickhouse(f"{clickhouse_server}/default") as client, pytest.raises(ClickHouseError) as caught:
        client.query(sql)
    assert is_transient(caught.value) is transient


def test_one_client_serves_many_threads(clickhouse_server: str) -> None:
    with open_clickhouse(f"{clickhouse_server}/default") as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.query(f"SELECT {n}").first_row[0], range(50)))
    assert answers == list(range(50))


def test_a_statement_is_stamped_with_who_asked(clickhouse: Client) -> None:
    stamp = log_comment(run_id="r-1", asset="engagement_hourly", partition="2026-01-01T00|app")
    seen = clickhouse.query("SELECT getSetting('log_comment')", settings=stamp).first_row[0]
    assert json.loads(seen) == {"run_id": "r-1", "asset": "engagement_hourly", "partition": "2026-01-01T00|app"}
