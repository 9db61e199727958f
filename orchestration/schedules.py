"""When things run by themselves. All times are UTC.

Belongs here: clocks and guards. Does not belong here: what runs (`orchestration.jobs`).

| when | what |
|---|---|
| minute 1 | close the ingest hour that is over (realtime) |
| minute 3 | seal the event hour that is over, all networks |
| 00:12 | seal the day that is over, then the marts |
| 00:14 | seal the sessions of the days before it that are due: one may last 24 hours |
| 02:20 to 05:20, each hour | the low-load window: maintenance, if the machine has nothing better to do |

Minute 3: an hour is complete two minutes after its end, and the sensor keeps the archive under a minute behind.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.partitions import DAY, HOUR, day_start, event_day_key, event_hour_key, hour_start, ingest_hour_key
from assets.raw_events.ranges import committed
from assets.watermark import archive_watermark
from contracts.event_types import TOPICS
from resources.dagster_resources import ClickHouseResource, EventLogResource
from resources.event_log.base import EventLog, TopicPartition

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

MOST_LAG = 20_000
"""Messages that a consumer group may be behind when heavy work starts: ten seconds of two thousand events a second."""
MOST_QUEUED = 3
"""Runs that may wait or run when heavy work starts."""


def _status(running: bool) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED


def build_close_schedule(*, running: bool) -> dg.ScheduleDefinition:
    """Close the ingest hour that is over."""

    @dg.schedule(
        name="close_ingest_hour_schedule",
        job_name="close_ingest_hour",
        cron_schedule="1 * * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description="Archives the rest of the ingest hour that is over, merges its parts, compares the stores.",
        tags={"domain": "events"},
    )
    def close_ingest_hour_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        hour = hour_start(context.scheduled_execution_time) - HOUR
        return dg.RunRequest(partition_key=ingest_hour_key(hour), tags={"tally/cause": "hour is over"})

    return close_ingest_hour_schedule


def build_batch_schedules(*, running: bool) -> list[dg.ScheduleDefinition]:
    """The hourly seal, the daily close, the marts, the nightly window."""
    from assets.networks import NETWORKS  # the realtime location, which imports this module too, does without

    @dg.schedule(
        name="hourly_seal",
        job_name="seal_hours",
        cron_schedule="3 * * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description="Seals the event hour that is over for all networks, in one run, once the archive has passed it.",
        tags={"domain": "engagement"},
    )
    def hourly_seal(
        context: dg.ScheduleEvaluationContext, event_log: EventLogResource, clickhouse: ClickHouseResource
    ) -> dg.RunRequest | dg.SkipReason:
        hour = hour_start(context.scheduled_execution_time) - HOUR
        with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
            watermark = archive_watermark(log, client, datetime.now(UTC))
        if not watermark.completes(hour + HOUR):
            return dg.SkipReason(
                f"the hour {hour:%Y-%m-%d %H:%M} UTC is not complete: the archive's watermark is "
                f"{watermark.at:%H:%M:%S}, {len(watermark.waiting)} log partitions wait; late_data_sensor will seal it"
            )
        first, last = event_hour_key(hour, NETWORKS[0]), event_hour_key(hour, NETWORKS[-1])
        return dg.RunRequest(tags=dict(zip(_RANGE, (first, last), strict=True)))

    @dg.schedule(
        name="daily_close",
        job_name="seal_days",
        cron_schedule="12 0 * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description="Merges the hours of the day that is over, for all networks, in one run.",
        tags={"domain": "engagement"},
    )
    def daily_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = day_start(context.scheduled_execution_time) - DAY
        first, last = event_day_key(day, NETWORKS[0]), event_day_key(day, NETWORKS[-1])
        return dg.RunRequest(tags=dict(zip(_RANGE, (first, last), strict=True)))

    @dg.schedule(
        name="daily_sessions",
        job_name="seal",
        cron_schedule="14 0 * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description="Cuts the sessions of the day before yesterday, and of days of the last week that are stale.",
        tags={"domain": "sessions"},
    )
    def daily_sessions(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        end = day_start(context.scheduled_execution_time)
        config = {"start": (end - 8 * DAY).isoformat(), "end": end.isoformat()}
        return dg.RunRequest(run_config={"ops": {"seal_range": {"config": config}}})

    marts = dg.ScheduleDefinition(
        name="daily_marts",
        job_name="build_marts",
        cron_schedule="20 0 * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description="Builds and tests the marts after the day is sealed.",
        tags={"domain": "engagement"},
    )

    @dg.schedule(
        name="nightly_low_load",
        job_name="maintenance",
        cron_schedule="20 2-5 * * *",
        execution_timezone="UTC",
        default_status=_status(running),
        description=(
            "Maintenance in the quiet hours, once a night, when no consumer group is far behind and no run waits. "
            "Tries again each hour until 05:20."
        ),
        tags={"domain": "operations"},
    )
    def nightly_low_load(
        context: dg.ScheduleEvaluationContext, event_log: EventLogResource
    ) -> dg.RunRequest | dg.SkipReason:
        night = context.scheduled_execution_time.astimezone(UTC).strftime("%Y-%m-%d")
        with closing(event_log.open()) as log:
            load = measure_load(log, context.instance, night)
        reason = load.too_much()
        if reason:
            return dg.SkipReason(reason)
        return dg.RunRequest(tags={"tally/night": night, "dagster/priority": "-10"})

    return [hourly_seal, daily_close, daily_sessions, marts, nightly_low_load]


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine has to do: lag per group in messages, unfinished runs, and this night's maintenance runs."""

    lag: dict[str, int]
    runs: int
    done_tonight: int

    def too_much(self) -> str:
        """Why heavy work must wait, with the numbers; empty when it need not."""
        reasons = [
            f"group {group} is {lag:,} messages behind (limit {MOST_LAG:,})"
            for group, lag in self.lag.items()
            if lag > MOST_LAG
        ]
        if self.runs > MOST_QUEUED:
            reasons.append(f"{self.runs} runs are waiting or under way (limit {MOST_QUEUED})")
        if self.done_tonight:
            reasons.append("maintenance has run tonight")
        return "; ".join(reasons)


def measure_load(
    log: EventLog,
    instance: dg.DagsterInstance,
    night: str,
) -> Load:
    """Ask the log and the instance."""
    ends = {
        TopicPartition(topic, partition): high
        for topic in TOPICS
        for partition, (_, high) in log.watermarks(topic).items()
    }
    lag = {}
    for group in ("raw", "live"):
        commits = committed(log, group)
        lag[group] = sum(max(0, high - commits.get(place, 0)) for place, high in ends.items())
    unfinished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
        updated_after=datetime.now(UTC) - timedelta(days=1),
    )
    tonight = dg.RunsFilter(job_name="maintenance", tags={"tally/night": night}, statuses=[dg.DagsterRunStatus.SUCCESS])
    return Load(lag, instance.get_runs_count(unfinished), instance.get_runs_count(tonight))
