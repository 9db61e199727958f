"""The process: how it refuses to start, drains, survives SIGKILL, limits itself, keeps its password."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

Start = Callable[..., tuple[subprocess.Popen[str], str]]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local.clickhouse", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def ask(url: str, sql: str, **params: str) -> str:
    answer = httpx.post(url, content=sql, params=params, timeout=30)
    answer.raise_for_status()
    return answer.text


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("tally clickhouse: ")]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines[0]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert_one_line(run("--path", str(tmp_path / "data"), "--port", port), 3, port, "in use")
    assert not (tmp_path / "data").exists()  # nothing was touched


def test_a_folder_in_use_is_named_with_its_process(tmp_path: Path, start_clickhouse: Start) -> None:
    process, url = start_clickhouse(tmp_path / "data")
    assert_one_line(run("--path", str(tmp_path / "data"), "--port", "0"), 4, str(tmp_path / "data"), str(process.pid))
    assert ask(url, "SELECT 1") == "1\n"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    assert_one_line(run("--path", str(tmp_path / "data"), "--port", "0"), 4, str(tmp_path / "data"), "exists")


def test_a_folder_with_broken_metadata_is_named(tmp_path: Path, start_clickhouse: Start) -> None:
    folder = tmp_path / "data"
    process, url = start_clickhouse(folder)
    ask(url, "CREATE DATABASE d")
    ask(url, "CREATE TABLE d.t (n UInt8) ENGINE = MergeTree ORDER BY n")
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    (broken,) = (path for path in folder.rglob("t.sql"))
    broken.write_text("this is no table")
    done = run("--path", str(folder), "--port", "0")
    assert_one_line(done, 4, str(folder))


def wait_until_running(url: str, text: str) -> None:
    """Wait until a query with this text runs beside the one that asks."""
    while int(ask(url, f"SELECT count() FROM system.processes WHERE query LIKE '%{text}%'")) < 2:
        time.sleep(0.02)


def test_sigterm_lets_a_running_query_finish_and_closes_the_folder(tmp_path: Path, start_clickhouse: Start) -> None:
    process, url = start_clickhouse(tmp_path / "data")
    answers: list[str] = []
    slow = "SELECT sum(sleepEachRow(0.1)) FROM numbers(20) SETTINGS max_block_size = 1"
    thread = threading.Thread(target=lambda: answers.append(ask(url, slow)))
    thread.start()
    wait_until_running(url, "sleepEachRow")
    process.send_signal(signal.SIGTERM)
    thread.join()
    assert answers == ["0\n"]
    assert process.wait(60) == 0
    _, again = start_clickhouse(tmp_path / "data")
    assert ask(again, "SELECT 1") == "1\n"


def test_sigterm_does_not_wait_for_ever(tmp_path: Path, start_clickhouse: Start) -> None:
    process, url = start_clickhouse(tmp_path / "data", "--drain", "1")
    endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"

    def wait() -> None:
        with pytest.raises((httpx.HTTPError, RuntimeError)):
            ask(url, endless)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until_running(url, "sipHash64")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    thread.join()


def test_kill_dash_nine_during_inserts_loses_and_doubles_nothing(tmp_path: Path, start_clickhouse: Start) -> None:
    """A writer repeats a batch with its token until it is acknowledged: every row is there once, views included."""
    process, url = start_clickhouse(tmp_path / "data")
    for sql in (
        "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000",
        "CREATE TABLE v (p UInt8, c SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY p "
        "SETTINGS non_replicated_deduplication_window = 1000",
        "CREATE MATERIALIZED VIEW mv TO v AS SELECT n % 2 AS p, count() AS c FROM t GROUP BY p",
    ):
        ask(url, sql)
    batches, size = 60, 2000
    killed = 0
    batch = 0
    while batch < batches:
        data = b"".join((batch * size + n).to_bytes(8, "little") for n in range(size))
        if batch in {15, 35} and killed < batch // 15:  # while this batch is on its way
            killed += 1
            threading.Timer(0.001 * killed, process.kill).start()
        params = {
            "query": "INSERT INTO t FORMAT RowBinary",
            "insert_deduplication_token": f"batch-{batch}",
            "deduplicate_blocks_in_dependent_materialized_views": "1",
        }
        try:
            httpx.post(url, params=params, content=data).raise_for_status()
            batch += 1
        except httpx.TransportError:
            process.wait(20)
            process, url = start_clickhouse(tmp_path / "data")
    assert killed == 2
    assert ask(url, "SELECT count(), uniqExact(n) FROM t") == f"{batches * size}\t{batches * size}\n"
    assert ask(url, "SELECT sum(c) FROM v") == f"{batches * size}\n"


def test_the_queue_is_bounded_and_says_so(tmp_path: Path, start_clickhouse: Start) -> None:
    _, url = start_clickhouse(tmp_path / "data", "--pool", "1", "--queue", "1")
    slow = "SELECT sum(sleepEachRow(0.3)) FROM numbers(3) SETTINGS max_block_size = 1"
    threads = [threading.Thread(target=ask, args=(url, slow)) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    refused = httpx.post(url, content="SELECT 1")
    assert refused.headers["x-clickhouse-exception-code"] == "202"
    assert "1 are running and 1 are waiting" in refused.text
    assert ask(url, "KILL QUERY WHERE query_id = 'nobody'") == ""  # never waits behind what it is to stop
    assert httpx.get(f"{url}/ping").text == "Ok.\n"
    for thread in threads:
        thread.join()
    assert ask(url, "SELECT 1") == "1\n"


def test_a_password_is_asked_for_and_never_shown(tmp_path: Path, start_clickhouse: Start) -> None:
    _, url = start_clickhouse(tmp_path / "data", env={"TALLY_CLICKHOUSE_PASSWORD": "s3cret-ü"})
    refused = httpx.post(url, content="SELECT 1", auth=("default", "wrong"))
    assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (403, "516")
    assert "wrong" not in refused.text
    assert "s3cret" not in refused.text
    assert httpx.post(url, content="SELECT 1").status_code == 403
    for options in (
        {"auth": httpx.BasicAuth("default", "s3cret-ü")},
        {"headers": {"x-clickhouse-user": "default", "x-clickhouse-key": "s3cret-ü".encode()}},
        {"params": {"user": "default", "password": "s3cret-ü"}},
    ):
        assert httpx.post(url, content="SELECT 1", **options).text == "1\n", options  # type: ignore[arg-type]  # a table of cases
    assert httpx.get(f"{url}/ping").status_code == 200


def test_memory_stays_bounded_whatever_passes_through(tmp_path: Path, start_clickhouse: Start) -> None:
    process, url = start_clickhouse(tmp_path / "data", "--max-memory", "300M")
    measured = psutil.Process(process.pid)
    ask(url, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    before = measured.memory_info().rss
    chunk = bytes(range(1, 9)) * (1 << 17)
    httpx.post(
        url, params={"query": "INSERT INTO t FORMAT RowBinary"}, content=(chunk for _ in range(150)), timeout=60
    ).raise_for_status()
    with httpx.stream("POST", url, content="SELECT n FROM t FORMAT RowBinary", timeout=60) as answer:
        assert sum(len(part) for part in answer.iter_raw()) == 150 << 20
    assert measured.memory_info().rss - before < 250 << 20
    refused = httpx.post(url, content="SELECT groupArray(number) FROM numbers(200000000)", timeout=60)
    assert refused.headers["x-clickhouse-exception-code"] == "241"
    assert ask(url, "SELECT count() FROM t") == f"{150 << 17}\n"


def test_times_without_a_zone_are_utc_wherever_the_machine_is(tmp_path: Path, start_clickhouse: Start) -> None:
    _, url = start_clickhouse(tmp_path / "data", env={"TZ": "Asia/Kolkata"})
    assert ask(url, "SELECT toUnixTimestamp(toDateTime('1970-01-02 00:00:00')), timezone()").startswith("86400\t")
