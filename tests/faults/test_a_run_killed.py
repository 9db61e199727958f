"""A Dagster run that dies after it has published everything and before it has told Dagster: the numbers stand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from contents import differences, read_contents
from journey import Journey

from orchestration.sealing import seal
from orchestration.settings import Settings
from orchestration.stack.lifecycle import write_dagster_home
from resources.clickhouse import open_clickhouse
from serving.verify import verify

_SEAL = """
from datetime import UTC, datetime
from orchestration.sealing import seal
from orchestration.settings import Settings
seal(Settings(), datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
"""


@pytest.mark.timeout(600)  # two processes import all of Dagster, on a machine that may do other things
def test_a_run_killed_before_it_reported(clickhouse_url: str, tmp_path: Path) -> None:
    """The next run finds every hour sealed and publishes nothing: readers saw the numbers all along.

    Nor does it wait for the place in the pool that the dead run held; no daemon runs here that would give it back.
    """
    home = tmp_path / "home"
    home.mkdir()
    settings = Settings(home=home, clickhouse_url=clickhouse_url, topic_partitions=2)
    Journey(settings).run("work")
    write_dagster_home(settings)
    command = [sys.executable, "-c", _SEAL]
    environment = {**os.environ, **settings.environment()}
    environment["TALLY_CRASH_AT"] = "seal.before_report"
    # Not into a pipe: Dagster's own children would hold it open after their parent's death.
    with (tmp_path / "killed.log").open("wb") as log:
        killed = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
    assert killed.returncode == -signal.SIGKILL, (tmp_path / "killed.log").read_text()[-2000:]
    before = read_contents(settings)
    assert before["engagement_daily"].height > 0
    again = seal(settings, datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert again.failed == {}
    assert sum(report.published.height for report in again.reports) == 0
    assert differences(read_contents(settings), before) == []
    with open_clickhouse(clickhouse_url) as client:
        assert set(verify(client)["verdict"]) == {"equal"}
