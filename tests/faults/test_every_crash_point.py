"""A process may be killed at every named place; started again, it leaves every store as if it had never died.

The journey of `journey.py` is made once without a crash: the oracle. Its stores are kept as they were before each
stage, and read after it. Then for each place: the stores as they were, a life that must end there by SIGKILL, a life
that is not killed, and every table, the ledger and the answers must be those of the oracle.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from contents import Contents, differences, read_contents, without_positions
from journey import STAGES, Journey

from orchestration.settings import Settings
from resources.crashpoints import POINTS

LIVES = Path(__file__).with_name("lives.py")
NAMES = [stage.__name__ for stage in STAGES]

ELSEWHERE = {
    "raw_store.mongodb.between_inserts": "tests/servers/faults: it needs MongoDB's protocol",
    "seal.before_report": "test_a_run_killed_before_it_reported: it needs Dagster",
}
STAGE_OF = {
    "migrate.": "set_up",
    "intake.": "send",
    "event_log.": "send",
    "worker.handing_over": "work_in_two",
    "worker.": "work",
    "raw.": "work",
    "live.": "work",
    "live_sessions.": "work",
    "live_ads.": "work",
    "sessions.": "seal",
    "archive.": "seal",
    "archive_index.": "seal",
    "raw_events.": "seal",
    "slices.": "seal",
    "rollup.": "seal",
    "publish.": "seal",
    "restatements.": "restate",
    "quarantine.": "leave_quarantine",
    "replay.": "repair",
    "rebuild.": "rebuild",
    "purge.": "tidy",
}
SENT_AGAIN = ("intake.", "event_log.", "quarantine.")
"""Where nobody was told that the rows are there: they are sent again, and the log holds them twice."""

DIES_FIRST_AT = {"worker.before_recovery_commit": "worker.after_announce"}


def stage_of(point: str) -> str:
    """The first matching beginning, in the order of the table."""
    return next(stage for start, stage in STAGE_OF.items() if point.startswith(start))


@dataclass
class World:
    """The stores of the oracle before each stage, what they hold after it, and a place for other lives."""

    folder: Path
    admin: Client
    url: str
    process: subprocess.Popen[str]
    before: dict[str, Path] = field(default_factory=dict)
    after: dict[str, Contents] = field(default_factory=dict)

    def settings(self, home: Path) -> Settings:
        return Settings(home=home, clickhouse_url=f"{self.url}/journey", topic_partitions=2)

    def tables(self, database: str) -> list[str]:
        sql = "SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree'"
        return [row[0] for row in self.admin.query(sql, parameters={"d": database}).result_rows]

    def keep(self, stage: str, home: Path) -> None:
        """Keep the stores as they are before the stage: files as a copy, tables as another database."""
        self.before[stage] = self.folder / f"before-{stage}"
        shutil.copytree(home, self.before[stage])
        self.admin.command(f"CREATE DATABASE before_{stage}")
        for table in self.tables("journey"):
            self.admin.command(f"CREATE TABLE before_{stage}.{table} AS journey.{table}")
            self.admin.command(f"ALTER TABLE before_{stage}.{table} ATTACH PARTITION ALL FROM journey.{table}")

    def restore(self, stage: str, home: Path) -> Settings:
        shutil.copytree(self.before[stage], home)
        if stage == NAMES[0]:
            self.admin.command("DROP DATABASE IF EXISTS journey SYNC")
            return self.settings(home)
        if not self.tables("journey"):
            raise AssertionError("the oracle's database is gone")
        for table in self.tables("journey"):
            self.admin.command(f"TRUNCATE TABLE journey.{table}")
            self.admin.command(f"ALTER TABLE journey.{table} ATTACH PARTITION ALL FROM before_{stage}.{table}")
        return self.settings(home)

    def live(self, settings: Settings, until: str, crash_at: str) -> int:
        """Let another process live until the stage is done or it is killed; return its exit code."""
        environment = {**settings.environment(), "JOURNEY_UNTIL": until, "TALLY_CRASH_AT": crash_at}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(environment) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, clickhouse_server: str, clickhouse_admin: Client
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("journey")
    command = [sys.executable, str(LIVES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = World(folder, clickhouse_admin, clickhouse_server, process)
        home = folder / "oracle"
        home.mkdir()
        settings = made.settings(home)
        for stage in NAMES:
            made.keep(stage, home)
            Journey(settings).run(stage)
            made.after[stage] = read_contents(settings)
        yield made
        assert process.stdin is not None
        process.stdin.close()
    for stage in NAMES:
        clickhouse_admin.command(f"DROP DATABASE IF EXISTS before_{stage}")
    clickhouse_admin.command("DROP DATABASE IF EXISTS journey")


def test_every_point_has_its_test() -> None:
    assert len(POINTS) >= 16
    assert all(POINTS.values())
    assert {stage_of(point) for point in POINTS if point not in ELSEWHERE} <= set(NAMES)


def test_the_journey_shows_what_it_is_to_show(world: World) -> None:
    """An oracle without duplicates, refusals, restatements, or damage would prove little."""
    last = world.after[NAMES[-1]]
    assert last["ledger"]["balanced"].all()
    assert {"stored", "duplicate", "quarantined"} <= set(last["ledger"].columns)
    assert last["ledger"].select("stored", "duplicate", "quarantined").sum().row(0) > (0, 0, 0)
    assert last["restatements"].height > 0
    assert set(last["raw quarantine"]["status"]) == {"open", "replayed"}
    assert not world.after["damage"]["ledger"]["balanced"].all()
    assert differences(world.after["repair"], world.after["leave_quarantine"]) == []
    assert differences(world.after["rebuild"], world.after["leave_quarantine"]) == []


@pytest.mark.parametrize("point", [point for point in POINTS if point not in ELSEWHERE])
def test_killed_there_and_started_again(world: World, tmp_path: Path, point: str) -> None:
    stage = stage_of(point)
    settings = world.restore(stage, tmp_path / "home")
    if point in DIES_FIRST_AT:
        assert world.live(settings, stage, DIES_FIRST_AT[point]) == -signal.SIGKILL
    assert world.live(settings, stage, point) == -signal.SIGKILL, f"{point} was not reached"
    Journey(settings).run(stage)
    found, expected = read_contents(settings), world.after[stage]
    if point.startswith(SENT_AGAIN):
        found, expected = without_positions(found), without_positions(expected)
    wrong = differences(found, expected)
    assert not wrong, "\n".join(wrong)
