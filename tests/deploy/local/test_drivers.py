"""clickhouse-connect and dbt on the local process, as on a server."""

from __future__ import annotations

import asyncio
import datetime
import subprocess
import sys
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error
from clickhouse_connect.driver.external import ExternalData


@pytest.fixture
def client(clickhouse: Client) -> Client:
    clickhouse.command(
        "CREATE TABLE t (n UInt64, s String, at DateTime64(3, 'UTC'), a Array(String)) ENGINE = MergeTree ORDER BY n"
    )
    return clickhouse


AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)


def test_rows_come_back_as_they_went_in(client: Client) -> None:
    client.insert("t", [[1, "ü", AT, ["x", "y"]], [2, "", AT, []]], column_names=["n", "s", "at", "a"])
    assert client.query("SELECT n, s, a FROM t ORDER BY n").result_rows == [(1, "ü", ["x", "y"]), (2, "", [])]
    assert client.command("SELECT count() FROM t WHERE at = {at:DateTime64(3)}", parameters={"at": AT}) == 2


def test_arrow_both_ways(client: Client) -> None:
    table = pa.table({"n": pa.array(range(100_000), pa.uint64()), "s": ["x"] * 100_000})
    assert client.insert_arrow("t", table).written_rows == 100_000
    assert client.query_arrow("SELECT n FROM t ORDER BY n")["n"].to_pylist() == list(range(100_000))


def test_blocks_stream(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum(len(block) for block in stream) == 300_000


def test_parameters_settings_and_limits(client: Client) -> None:
    sql = "SELECT {a:Array(String)} AS a, {d:Date} AS d, getSetting('max_threads') AS m"
    row = client.query(sql, parameters={"a": ["it's", "ü\t"], "d": AT.date()}, settings={"max_threads": 1}).first_row
    assert row == (["it's", "ü\t"], AT.date(), 1)
    assert client.query("SELECT number FROM numbers(100) LIMIT 0").column_names == ("number",)


def test_external_data_is_a_table(client: Client) -> None:
    data = ExternalData(file_name="ids", data=b"1\n3\n", fmt="CSV", structure="id UInt64")
    assert client.query("SELECT sum(id) FROM ids", external_data=data).first_row == (4,)


def test_errors_carry_code_and_text(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as caught:
        client.query("SELECT * FROM nowhere")
    assert caught.value.code == 60
    with (
        pytest.raises(Error, match="too far"),
        client.query_rows_stream(
            "SELECT throwIf(number = 5000000, 'too far') FROM numbers(10000000) SETTINGS max_block_size = 10000"
        ) as stream,
    ):
        for _row in stream:
            pass


def test_sessions_of_the_driver(clickhouse_url: str, client: Client) -> None:
    parts = urlsplit(clickhouse_url)
    with clickhouse_connect.get_client(host=parts.hostname, port=parts.port, session_id=str(uuid.uuid4())) as session:
        session.command("CREATE TEMPORARY TABLE mine (n UInt8)")
        session.insert("mine", [[1], [2]])
        assert session.command("SELECT sum(n) FROM mine") == 3


def test_twenty_clients_at_once(client: Client, clickhouse_url: str) -> None:
    parts = urlsplit(clickhouse_url)

    def work(number: int) -> int:
        with clickhouse_connect.get_client(
            host=parts.hostname, port=parts.port, database=parts.path.strip("/"), autogenerate_session_id=False
        ) as own:
            own.insert("t", [[number, "x", AT, []]] * 10, column_names=["n", "s", "at", "a"])
            return int(own.command("SELECT count() FROM t WHERE n = {n:UInt64}", parameters={"n": number}))

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(work, range(20))) == [10] * 20
    assert client.command("SELECT count() FROM t") == 200


def test_one_client_serves_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.command(f"SELECT sum(number) FROM numbers({n + 1})"), range(40)))
    assert answers == [n * (n + 1) // 2 for n in range(40)]


def test_the_async_client(clickhouse_url: str, client: Client) -> None:
    async def ask() -> int:
        parts = urlsplit(clickhouse_url)
        own = await clickhouse_connect.get_async_client(
            host=parts.hostname, port=parts.port, autogenerate_session_id=False
        )
        async with own:
            return int(await own.command("SELECT 6 * 7"))

    pytest.importorskip("aiohttp")
    assert asyncio.run(ask()) == 42


def test_dbt_builds_tables_increments_and_materialized_views(
    clickhouse_url: str, client: Client, tmp_path: Path
) -> None:
    parts = urlsplit(clickhouse_url)
    files = {
        "dbt_project.yml": "name: small\nversion: '1.0'\nprofile: small\nmodel-paths: [models]\n",
        "profiles.yml": f"""
            small:
              target: dev
              outputs:
                dev:
                  {{type: clickhouse, schema: {parts.path.strip("/")}, host: {parts.hostname}, port: {parts.port}}}
            """,
        "models/grown.sql": """
            {{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='n % 2',
                      order_by='n', engine='MergeTree') }}
            SELECT n, count() AS c FROM t GROUP BY n
            """,
        "models/watched.sql": """
            {{ config(materialized='materialized_view', engine='SummingMergeTree', order_by='s') }}
            SELECT s, count() AS c FROM t GROUP BY s
            """,
        "models/models.yml": """
            models:
              - name: grown
                columns: [{name: n, data_tests: [unique, not_null]}]
            """,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    client.insert("t", [[1, "a", AT, []], [2, "b", AT, []]], column_names=["n", "s", "at", "a"])
    twice = """
import sys
from dbt.cli.main import dbtRunner
options = ["--project-dir", ".", "--profiles-dir", ".", "--no-send-anonymous-usage-stats", "--no-partial-parse"]
for _ in range(2):
    if not dbtRunner().invoke(["build", *options]).success:
        sys.exit(1)
"""
    done = subprocess.run([sys.executable, "-c", twice], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASS=4") == 2
    client.insert("t", [[1, "a", AT, []]], column_names=["n", "s", "at", "a"])
    assert client.query("SELECT n, c FROM grown ORDER BY n").result_rows == [(1, 1), (2, 1)]
    assert client.query("SELECT s, sum(c) FROM watched GROUP BY s ORDER BY s").result_rows == [("a", 2), ("b", 1)]
