"""A failed run becomes one line that says what, which partition, why, and which run."""

from __future__ import annotations

import dagster as dg

from sensors.failures import describe


def test_one_line_names_job_partition_cause_and_run() -> None:
    @dg.job
    def archive_events() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(archive_events, tags={"dagster/partition": "2026-05-01-13:00"})
        event = instance.report_run_failed(run, "disk full\nand a long story")
    assert describe(run, event) == f"archive_events of 2026-05-01-13:00 failed: disk full (run {run.run_id})"
