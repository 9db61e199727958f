"""Maintenance clears away what nothing refers to, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import dagster as dg
import polars as pl

from assets.partitions import hour_start, ingest_hour_key
from assets.publishing.maintenance import purge_unpublished
from assets.publishing.seals import NO_BUILD, Build, Dataset
from assets.publishing.staging import stage_scope
from assets.raw_events.ranges import log_ranges
from assets.watermark import settled_until
from contracts.facts import FACT_DATASETS
from orchestration.assembly import build_definitions
from resources.clickhouse import query_frame
from streaming.topics import DEFAULT_RETENTION_DAYS, create_topics


def maintain(
    instance: dg.DagsterInstance, resources: dict[str, Any], config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    from orchestration.jobs import maintenance

    mine = {name: resources[name] for name in ("clickhouse", "archive", "event_log")}
    return maintenance.execute_in_process(instance=instance, run_config=config, resources=mine)


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
        nothing_is_old = {"grace_hours": 0.0, "keep_runs_days": 0.0}
        config = {"ops": {op: {"config": nothing_is_old} for op in ("clear_unpublished", "prune_runs")}}
        result = maintain(instance, resources, config)
        assert result.success
        left = [run.job_name for run in instance.get_runs()]
        assert sorted(left) == ["close_ingest_hour", "maintenance"]
        assert instance.get_materialized_partitions(dg.AssetKey("raw_events")) == {key}
    scopes = query_frame(platform.clickhouse, "SELECT count() AS n FROM build_scopes")
    assert scopes["n"].to_list() == [0]


def test_an_unpublished_build_of_every_dataset_goes_with_its_rows(platform: Any, last_hour: datetime) -> None:
    day = last_hour.replace(hour=0)
    client = platform.clickhouse
    for dataset in get_args(Dataset):
        scope = pl.DataFrame({"bucket": [day], "network": ["app"]}).with_columns(
            pl.lit(NO_BUILD).alias("previous_build_id"),
            pl.col("bucket").alias("source_bucket"),
            pl.lit(NO_BUILD).alias("source_build_id"),
        )
        build = Build(dataset, "seal", "killed-run")
        stage_scope(client, build, scope)
        given = {"id": build.id, "dataset": dataset, "at": int(day.timestamp()) + 900}
        if dataset in FACT_DATASETS:
            for table in ("facts_builds", "restatements"):
                client.command(
                    f"INSERT INTO {table} (build_id, dataset, bucket, network) VALUES"  # our own two tables
                    " ({id:String}, {dataset:String}, {at:Int64}, 'app')",
                    parameters=given,
                )
    assert set(purge_unpublished(client, timedelta(0)).values()) == {1}
    for table in ("facts_builds", "restatements", "build_scopes"):
        assert query_frame(client, f"SELECT count() AS n FROM {table}")["n"].item() == 0, table


def test_messages_leave_the_log_after_their_retention_and_never_before_they_are_archived_and_taken(
    platform: Any, resources: dict[str, Any], make_events: Any
) -> None:
    create_topics(platform.log, partitions=2)  # with the pipeline's retention
    hour = hour_start(datetime.now(UTC)) - timedelta(days=DEFAULT_RETENTION_DAYS + 3)
    appended_at = hour + timedelta(minutes=55)
    platform.send(make_events(6, 200, hour, hour + timedelta(minutes=50)), at=appended_at)

    def held() -> int:
        return sum(where.end - where.start for where in log_ranges(platform.log))

    realtime = build_definitions("realtime", resources=resources, automation=False)
    with dg.instance_for_test() as instance:
        assert maintain(instance, resources).success
        assert held() == 200, "they are past their retention, but nowhere else than here"
        job = realtime.resolve_job_def("close_ingest_hour")
        assert job.execute_in_process(instance=instance, partition_key=ingest_hour_key(hour)).success
        now = datetime.now(UTC)
        assert settled_until(platform.log, platform.clickhouse, now) == now
        assert settled_until(platform.log, platform.clickhouse, now, ("raw", "live", "slow")) == appended_at
        assert maintain(instance, resources).success
    assert held() == 0
    assert len(platform.archive.parts(hour)) == 1
