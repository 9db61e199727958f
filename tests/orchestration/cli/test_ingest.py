"""What `tally ingest` and `tally mapping check` say when something is wrong with the file, the mapping or the stack."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "named", "code"),
    [
        (["day.ndjson"], "either --network NAME or --mapping FILE", 2),
        (["day.ndjson", "--network", "mars"], "'mars'", 2),
        (["day.ndjson", "--mapping", "mine.yaml"], "mine.yaml", 2),
        (["nowhere.ndjson", "--network", "tally", "--no-wait"], "nowhere.ndjson", 2),
        (["cut.gz", "--network", "tally", "--no-wait"], "truncated", 2),
        (["day.ndjson", "--network", "globo", "--no-wait"], "globo", 2),
        (["day.ndjson", "--network", "tally"], "no stack runs in", 3),
    ],
)
def test_a_wrong_load_names_file_and_reason(
    stores: Settings, day: Path, arguments: list[str], named: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(day.parent)
    (day.parent / "cut.gz").write_bytes(gzip.compress(day.read_bytes())[:200])
    result = runner.invoke(app, ["ingest", *arguments])
    assert result.exit_code == code, result.output
    assert named in result.stderr
    assert "Traceback" not in result.output


def test_a_truncated_file_keeps_the_rows_before_the_cut_in_the_account(stores: Settings, day: Path) -> None:
    packed = gzip.compress(b"\n".join(day.read_bytes().splitlines()[:300] * 400))
    cut = day.parent / "cut.gz"
    cut.write_bytes(packed[: len(packed) * 2 // 3])
    result = runner.invoke(app, ["ingest", str(cut), "--network", "tally", "--no-wait", "--json"])
    assert result.exit_code == 1
    account = json.loads(result.stdout)
    assert account["accepted"] > 0
    assert account["balanced"] is True
    assert "cut.gz" in account["fault"]


def test_a_load_that_failed_prints_no_account(stores: Settings, day: Path) -> None:
    result = runner.invoke(app, ["ingest", str(day.parent / "nowhere.ndjson"), "--network", "tally", "--no-wait"])
    assert result.exit_code == 2
    assert "balanced" not in result.output


def test_json_given_to_a_csv_mapping_is_said_in_a_short_line(stores: Settings, day: Path) -> None:
    result = runner.invoke(app, ["ingest", str(day), "--network", "globo", "--no-wait"])
    assert "row 1 is a JSON object, not a header; mapping 'globo' reads csv" in result.stderr
    assert len(result.stderr) < 300


def test_columns_that_do_not_fit_are_named_in_bounds(stores: Settings, tmp_path: Path) -> None:
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(f"column_{number}" for number in range(500)) + "\n")
    wide.write_text(wide.read_text() * 2)
    result = runner.invoke(app, ["ingest", str(wide), "--network", "globo", "--no-wait"])
    assert result.exit_code == 2
    assert "no column session_id" in result.stderr
    assert "the data has column_0, column_1" in result.stderr
    assert len(result.stderr) < 1000


def test_when_not_one_row_is_accepted_it_says_so_loudly_and_fails(stores: Settings, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ndjson"
    wrong.write_text('{"a":1}\n{"b":2}\n')
    result = runner.invoke(app, ["ingest", str(wrong), "--network", "tally", "--no-wait"])
    assert result.exit_code == 1
    assert "NOT ONE ROW WAS ACCEPTED: 2 of 2" in result.stderr
    assert "tally quarantine show --reason missing_field" in result.stderr


def test_when_most_rows_are_refused_it_says_so_and_succeeds(stores: Settings, day: Path) -> None:
    mixed = day.parent / "mixed.ndjson"
    mixed.write_bytes(b"\n".join([day.read_bytes().splitlines()[0], b"{}", b"{}"]))
    result = runner.invoke(app, ["ingest", str(mixed), "--network", "tally", "--no-wait"])
    assert result.exit_code == 0
    assert "most rows were refused: 2 of 3" in result.stderr


def test_mapping_check_shows_rows_rejects_and_drift(tmp_path: Path) -> None:
    sample = tmp_path / "sample.ndjson"
    sample.write_text(
        '{"event_id":"01890000-0000-7000-8000-000000000001","type":"post.created","actor":"a",'
        '"occurred_at":"2026-01-01T00:00:00Z","colour":"red"}\n'
        '{"event_id":"01890000-0000-7000-8000-000000000002","type":"post.created","actor":7,'
        '"occurred_at":"2026-01-01T00:00:00Z"}\n'
        '{"event_id":"01890000-0000-7000-8000-000000000003","type":"post.created","occurred_at":"2026-01-01T00:00:00Z"}\n'
    )
    result = runner.invoke(app, ["mapping", "check", "tally", str(sample), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["rows"], found["valid_events"], found["rejected"]) == (3, 2, {"missing_field": 1})
    assert found["unknown_fields"] == {"colour": 1}
    assert found["type_changes"] == {"actor": 1}
    told = runner.invoke(app, ["mapping", "check", "tally", str(sample)]).stdout
    assert "row 3 of sample.ndjson" in told
    assert "colour" in told


def test_mapping_check_fails_when_no_row_passes(tmp_path: Path) -> None:
    sample = tmp_path / "sample.ndjson"
    sample.write_text("hello\n")
    assert runner.invoke(app, ["mapping", "check", "tally", str(sample)]).exit_code == 1
