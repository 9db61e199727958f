"""The command line as a whole: quick, quiet, and clear about errors."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from orchestration.cli import reference
from orchestration.cli.app import app
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, raw_store
from streaming.topics import create_topics

runner = CliRunner()


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after the statement."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


def test_help_imports_nothing_heavy() -> None:
    heavy = {
        "dagster",
        "polars",
        "pyarrow",
        "pydantic",
        "clickhouse_connect",
        "psutil",
        "supervisor",
        "duckdb",
        "httpx",
    }
    assert not imported_by("import orchestration.cli.app") & heavy


@pytest.mark.parametrize("process", ["collector", "worker"])
def test_streaming_processes_import_neither_dagster_nor_chdb(process: str) -> None:
    modules = imported_by(f"import orchestration.cli.app, orchestration.stack.processes, streaming.{process}.main")
    assert "streaming" in modules
    assert not modules & {"dagster", "chdb", "dbt", "grpc"}


def test_every_command_has_help_an_example_and_json() -> None:
    page = reference.render()
    for section in page.split("\n## ")[1:]:
        name = section.splitlines()[0]
        assert "```sh\ntally" in section or "tally migrate" in section, f"{name} shows no example"
        assert "`--json`" in section, f"{name} has no --json"


@pytest.mark.parametrize(
    ("word", "named"),
    [("engage", "engagements`"), ("sael", "'seal'"), ("xyzzy", "Commands: ")],
)
def test_an_unknown_command_is_answered_with_what_may_have_been_meant(word: str, named: str) -> None:
    result = runner.invoke(app, [word])
    assert result.exit_code == 2
    assert named in result.stderr


def test_rows_that_share_an_id_are_named(tmp_path: Path) -> None:
    mapping, sample = tmp_path / "shop.yaml", tmp_path / "shop.csv"
    mapping.write_text(
        "{format: csv, identity: {columns: [who]}, time: {column: at, format: iso8601}, actor: who,"
        " events: [{type: post.created}]}"
    )
    sample.write_text("who,at\nann,2026-01-01\nbob,soon\ncyd,2026-01-01\nann,2026-01-02\n")
    result = runner.invoke(app, ["mapping", "check", str(mapping), str(sample)])
    assert "rows 1, 4 share the id" in result.stdout


def test_a_wrong_setting_names_variable_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_COLLECTOR_PORT", "http")
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 2
    assert "TALLY_COLLECTOR_PORT='http'" in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_write_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_TOPIC_PARTITIONS", "0")
    monkeypatch.setenv("TALLY_WRITE_KEYS", "a=hush")
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 2
    assert "hush" not in result.output


def test_status_of_nothing_says_so_and_exits_3() -> None:
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 3
    assert "`tally up` starts it" in result.stdout


def test_with_json_stdout_is_one_document_errors_included() -> None:
    result = runner.invoke(app, ["status", "--json"])
    assert json.loads(result.stdout)["running"] is False
    result = runner.invoke(app, ["quarantine", "show", "--status", "lost", "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["exit_code"] == 2
    assert "'lost'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["query", "evnts"], "evnts"),
        (["query", "events", "--from", "tomorrowish"], "'tomorrowish' is not a time"),
        (["query", "events", "--tz", "Mars"], "'Mars' is not a time zone"),
        (["query", "events", "--where", "network"], "'network' is not of the form"),
        (["process", "worker", "--group", "blue"], "'blue' is neither raw nor live"),
        (["quarantine", "discard", "--note", "x"], "say which rows"),
        (["quarantine", "show", "--reason", "missing_feild"], "missing_feild"),
    ],
)
def test_wrong_usage_names_the_value_and_exits_2(arguments: list[str], named: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert named in result.stderr


@pytest.mark.parametrize("command", [["sql", "SELECT 1"], ["query", "events"], ["ledger"], ["verify"], ["gaps"]])
def test_a_store_that_is_down_exits_3_and_says_so_in_two_lines(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", "http://127.0.0.1:9/tally")
    prepare = Settings()
    prepare.home.mkdir()
    with event_log(prepare) as log, raw_store(prepare) as store:
        create_topics(log, 1, 7)
        store.ensure_schema()
    result = runner.invoke(app, command)
    assert result.exit_code == 3, result.output
    said = result.stderr.strip().splitlines()
    assert said == [
        "error: ClickHouse at http://127.0.0.1:9/tally does not answer: Connection refused",
        "  `tally status` shows what runs, `tally up` starts it",
    ]


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    for arguments in (["metrics"], ["metrics", "--json"], ["mapping", "list"]):
        reading, writing = os.pipe()
        os.close(reading)  # as `head` does
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b""), arguments


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_DEBUG", "1")
    result = runner.invoke(app, ["query", "events", "--from", "tomorrowish"])
    assert result.exception is not None
    assert "tomorrowish" in str(result.exception)


def test_the_reference_in_docs_is_up_to_date() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(), "run `make docs`"


def test_the_examples_in_help_can_be_typed_as_they_stand() -> None:
    from contracts.metric_catalogue import catalogue

    lines = re.findall(r"^(?:\w+=\S+ )*tally (.+)$", reference.render(), re.MULTILINE)
    assert len(lines) > 25
    for line in lines:
        words = shlex.split(line.split(" | ")[0])
        command = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        context = command.make_context(command.name, words)  # raises where an option or argument is wrong
        if command.name == "query":
            assert context.params["metric"] in catalogue(), line
