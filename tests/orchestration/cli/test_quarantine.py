"""The way out of quarantine, end to end: a file with a wrong mapping, a mended mapping, the rows become events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.mapping import load_mapping
from orchestration.cli.app import app
from orchestration.quarantine import replay_quarantine
from orchestration.settings import Settings
from orchestration.stack.stores import event_log, raw_store
from resources.event_log.base import OffsetRange
from resources.raw_store.base import QuarantineFilter
from streaming.sources.files import ingest_files, wait_until_processed
from streaming.topics import GROUP_RAW, create_topics
from streaming.worker.config import WorkerConfig
from streaming.worker.main import run_worker

MAPPING = """
name: shop
network: shop
format: csv
identity: {{columns: [$file, $row]}}
time: {{column: at, format: ["{time}"]}}
actor: who
object: what
events:
  - type: reaction.added
"""
ROWS = "who,what,at\nann,p1,01.03.2026 10:00\nbob,p2,01.03.2026 11:00\n,p3,01.03.2026 12:00\ncyd,p4,2026-03-02\n"


@pytest.fixture
def settings() -> Settings:
    made = Settings()
    made.home.mkdir()
    return made


@contextmanager
def raw_worker(settings: Settings) -> Iterator[None]:
    """A worker of the group `raw` beside the test."""
    stop = threading.Event()
    config = WorkerConfig("raw", settings.event_log_url, settings.raw_store_url, linger=0.01)
    thread = threading.Thread(target=run_worker, args=(config, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def drain(settings: Settings) -> None:
    """Wait until the group has stored everything that is in the log."""
    with event_log(settings) as log:
        ranges = [
            OffsetRange(topic, partition, low, high)
            for topic in ("content-events", "quarantine")
            for partition, (low, high) in log.watermarks(topic).items()
        ]
        assert wait_until_processed(log, [GROUP_RAW], ranges, timeout=20)


def stored(settings: Settings) -> dict[str, int]:
    with event_log(settings) as log, raw_store(settings) as store:
        marks = log.watermarks("content-events")
        from resources.raw_store.base import PositionRange

        ranges = [PositionRange("content-events", partition, 0, high) for partition, (_, high) in marks.items()]
        counts = store.verdicts(ranges).values()
    return {"stored": sum(each.stored for each in counts), "duplicate": sum(each.duplicate for each in counts)}


@pytest.fixture
def refused(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """Four rows in quarantine, because the mapping's time format is wrong; yields the path of the mapping."""
    mapping, data = tmp_path / "shop.yaml", tmp_path / "shop.csv"
    mapping.write_text(MAPPING.format(time="%Y/%m/%d"))
    data.write_text(ROWS)
    with raw_store(settings) as store:
        store.ensure_schema()
    with event_log(settings) as log:
        create_topics(log)
        account = ingest_files([data], load_mapping(mapping), log, "demo")
    assert account.accepted == 0
    assert sum(account.quarantined.values()) == 4
    with raw_worker(settings):
        drain(settings)
        yield mapping


def test_mended_rows_become_events_once(settings: Settings, refused: Path) -> None:
    runner = CliRunner()
    arguments = ["quarantine", "replay", "--network", "shop", "--mapping", str(refused), "--json"]
    refused.write_text(MAPPING.format(time="%d.%m.%Y %H:%M"))

    tried = json.loads(runner.invoke(app, [*arguments, "--dry-run"]).stdout)
    assert (tried["matched"], tried["accepted"]) == (4, 2)
    assert tried["refused"] == {"missing_field": 1, "invalid_time": 1}
    assert stored(settings) == {"stored": 0, "duplicate": 0}

    done = json.loads(runner.invoke(app, arguments).stdout)
    assert done == {**tried, "dry_run": False}
    drain(settings)
    assert stored(settings) == {"stored": 2, "duplicate": 0}

    again = json.loads(runner.invoke(app, arguments).stdout)
    assert (again["matched"], again["accepted"]) == (2, 0)
    drain(settings)
    assert stored(settings) == {"stored": 2, "duplicate": 0}


def test_a_replay_killed_before_it_marked_the_rows_only_adds_duplicates(settings: Settings, refused: Path) -> None:
    refused.write_text(MAPPING.format(time="%d.%m.%Y %H:%M"))
    with event_log(settings) as log, raw_store(settings) as store:
        replay_quarantine(log, store, QuarantineFilter(), mapping=load_mapping(refused))
        drain(settings)
        ids = store.quarantine(QuarantineFilter(status="replayed"))["id"].to_list()
        store.mark_quarantine(ids, "open", "as if it had been killed before marking")
        replay_quarantine(log, store, QuarantineFilter(), mapping=load_mapping(refused))
        drain(settings)
    assert stored(settings) == {"stored": 2, "duplicate": 2}


def test_a_replayed_row_keeps_receipt_and_time_of_receipt(settings: Settings, refused: Path) -> None:
    refused.write_text(MAPPING.format(time="%d.%m.%Y %H:%M"))
    with event_log(settings) as log, raw_store(settings) as store:
        before = store.quarantine(QuarantineFilter())
        replay_quarantine(log, store, QuarantineFilter(), mapping=load_mapping(refused))
        drain(settings)
        receipt = store.receipt(before["receipt_id"][0])
    assert receipt["stored"] == 2
    assert before["receipt_id"].n_unique() == 1


def test_without_a_mapping_rows_stay_and_say_why(settings: Settings, refused: Path) -> None:
    result = CliRunner().invoke(app, ["quarantine", "replay", "--json"])
    assert result.exit_code == 2
    assert "rows of 'shop' stay: no mapping has that name" in result.stderr
    report = json.loads(result.stdout)
    assert report["accepted"] == 0
    assert report["stuck"] == {"no mapping 'shop'; give one with --mapping": 4}


def test_discard_needs_a_filter_and_keeps_the_rows(settings: Settings, refused: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["quarantine", "discard", "--note", "tests"]).exit_code == 2
    result = runner.invoke(app, ["quarantine", "discard", "--network", "shop", "--note", "tests", "--json"])
    assert json.loads(result.stdout)["discarded"] == 4
    counts = json.loads(runner.invoke(app, ["quarantine", "list", "--json"]).stdout)
    assert sum(row["rows"] for row in counts) == 4
    assert {row["status"] for row in counts} == {"discarded"}
    assert {row["class"] for row in counts} == {"permanent"}


def test_show_names_place_and_problem(settings: Settings, refused: Path) -> None:
    result = CliRunner().invoke(app, ["quarantine", "show", "--limit", "1"])
    assert "row 1 of shop.csv" in result.stdout
    assert "01.03.2026 10:00" in result.stdout
    assert "1 row of 4; --limit shows more" in result.stdout
    result = CliRunner().invoke(app, ["quarantine", "show", "--limit", "1", "--from", "-1h"])
    assert "1 row of 4; --limit shows more" in result.stdout
