"""The late-data sensor: hours that hold more archived rows than their seal counted, and hours never sealed.

Belongs here: which runs to ask for, and not asking twice. Does not belong here: sealing (`assets.sealing`).

One run per network, however many hours are due: the run gets the range and finds the due hours in it. A network with a
run under way is left alone, and one whose last run failed is tried again after half an hour or when more has come: a
sensor that repeats a failing run at every tick would fill the run log.
"""

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from assets.dirty import dirty_hours, due
from assets.partitions import HOUR
from assets.watermark import Watermark, archive_watermark
from resources.clickhouse import Client
from resources.dagster_resources import ClickHouseResource, EventLogResource
from resources.event_log.base import EventLog

SCHEDULE_FIRST = timedelta(minutes=10)
"""An hour that was never sealed is the hourly schedule's first; after this it is ours."""
SETTLE = timedelta(seconds=30)
"""An hour that was written to in the last moments may be part of a load in progress: one seal later beats ten now."""
RETRY_AFTER = timedelta(minutes=30)

NETWORK_TAG = "tally/network"
DUE_TAG = "tally/due"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_late_data_sensor(job_name: str, *, running: bool) -> dg.SensorDefinition:
    """The sensor, asking for runs of `job_name`, the job that seals a range."""

    @dg.sensor(
        name="late_data_sensor",
        job_name=job_name,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Finds (event hour, network) pairs whose archived rows are more than their newest seal counted, and "
            "complete hours never sealed. Asks for one run per network. Sealed hours take late rows 30 days long."
        ),
        tags={"domain": "engagement"},
    )
    def late_data_sensor(
        context: dg.SensorEvaluationContext, event_log: EventLogResource, clickhouse: ClickHouseResource
    ) -> dg.SensorResult:
        with closing(event_log.open()) as log, closing(clickhouse.open()) as client:
            return evaluate(log, client, context.instance, datetime.now(UTC))

    return late_data_sensor


def evaluate(log: EventLog, clickhouse: Client, instance: dg.DagsterInstance, now: datetime) -> dg.SensorResult:
    """One tick: a run request per network with due hours, or the reason why there is none."""
    dirty = dirty_hours(clickhouse)
    watermark = archive_watermark(log, clickhouse, now)
    ready = due(dirty, watermark, now, SETTLE).filter(
        pl.col("first_sealed_at").is_not_null() | (pl.col("bucket") + HOUR + SCHEDULE_FIRST <= pl.lit(now))
    )
    requests, waiting = [], []
    for (network,), hours in ready.sort("bucket").group_by("network", maintain_order=True):
        reason = _why_not_now(instance, str(network), _digest(hours), now)
        if reason:
            waiting.append(reason)
        else:
            requests.append(run_request(str(network), hours))
    if requests:
        return dg.SensorResult(run_requests=requests)
    return dg.SensorResult(skip_reason="; ".join(waiting) or _why_nothing(dirty, watermark))


def run_request(network: str, hours: pl.DataFrame) -> dg.RunRequest:
    """One run for all due hours of a network (columns of `assets.dirty.due`)."""
    first, last = hours["bucket"][0], hours["bucket"][-1]
    late = hours.filter(pl.col("cause") == "late data").height
    config = {
        "start": first.isoformat(),
        "end": (last + HOUR).isoformat(),
        "networks": [network],
        "cause": "late data" if late else "seal",
    }
    return dg.RunRequest(
        run_config={"ops": {"seal_range": {"config": config}}},
        tags={
            NETWORK_TAG: network[:60],
            DUE_TAG: _digest(hours),
            "tally/hours": str(hours.height),
            "tally/late_hours": str(late),
        },
    )


def _digest(hours: pl.DataFrame) -> str:
    """Short name of these hours at these row counts: another one means that something has come since."""
    rows = hours.sort("bucket").select("bucket", "archived").rows()
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]


def _why_not_now(instance: dg.DagsterInstance, network: str, digest: str, now: datetime) -> str:
    tag = {NETWORK_TAG: network[:60]}
    unfinished = instance.get_runs(dg.RunsFilter(tags=tag, statuses=_UNFINISHED), limit=1)
    if unfinished:
        return f"{network}: run {unfinished[0].run_id[:8]} is under way"
    same = dg.RunsFilter(
        tags={**tag, DUE_TAG: digest}, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - RETRY_AFTER
    )
    failed = instance.get_runs(same, limit=1)
    if failed:
        minutes = RETRY_AFTER.total_seconds() / 60
        return f"{network}: run {failed[0].run_id[:8]} failed for exactly these hours; next try after {minutes:.0f} min"
    return ""


def _why_nothing(dirty: pl.DataFrame, watermark: Watermark) -> str:
    if dirty.is_empty():
        return "every archived row is counted by a seal"
    first = dirty["bucket"][0]
    return (
        f"{dirty.height} hours hold unsealed rows, none is due: watermark {watermark.at:%Y-%m-%d %H:%M:%S} UTC, "
        f"oldest such hour {first:%Y-%m-%d %H:%M}; hours wait to be complete and quiet, or are beyond their horizon"
    )
