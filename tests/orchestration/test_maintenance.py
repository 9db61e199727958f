"""Maintenance clears away what nothing refers to, and nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import ingest_hour_key
from assets.publishing.seals import NO_BUILD, Build
from assets.publishing.staging import stage_scope
from orchestration.assembly import build_definitions
from resources.clickhouse import query_frame


def test_unpublished_builds_and_old_runs_go_and_the_hour_stays_marked(
    platform: Any, resources: dict[str, Any], one_hour: pl.DataFrame, last_hour: datetime
) -> None:
    abandoned = Build("engagement_daily", "seal", "killed-run")
    scope = pl.DataFrame({"bucket": [last_hour], "network": ["app"]}).with_columns(
        pl.lit(NO_BUILD).alias("previous_build_id"),
        pl.col("bucket").alias("source_bucket"),
        pl.lit(NO_BUILD).alias("source_build_id"),
    )
    stage_scope(platform.clickhouse, abandoned, scope)
    realtime = build_definitions("realtime", resources=resources, automation=False)
    key = ingest_hour_key(last_hour)
    with dg.instance_for_test() as instance:
        for job in ("archive_events", "close_ingest_hour"):
            assert realtime.resolve_job_def(job).execute_in_process(instance=instance, partition_key=key).success
        from orchestration.jobs import maintenance

        nothing_is_old = {"grace_hours": 0.0, "keep_runs_days": 0.0}
        config = {"ops": {op: {"config": nothing_is_old} for op in ("clear_unpublished", "prune_runs")}}
        result = maintenance.execute_in_process(
            instance=instance,
            run_config=config,
            resources={name: resources[name] for name in ("clickhouse", "archive")},
        )
        assert result.success
        left = [run.job_name for run in instance.get_runs()]
        assert sorted(left) == ["close_ingest_hour", "maintenance"]
        assert instance.get_materialized_partitions(dg.AssetKey("raw_events")) == {key}
    scopes = query_frame(platform.clickhouse, "SELECT count() AS n FROM build_scopes")
    assert scopes["n"].to_list() == [0]
