"""The event-log sensor: one run with everything that the raw group has read since the last one.

Belongs here: when to ask, and for what. Does not belong here: reading messages (`assets.raw_events`).

While a run of it waits to start, it asks for no other: the next one takes everything, so a backlog becomes one run.

It holds its tick (long-poll) and returns the moment there is something, which takes the five seconds of the daemon's
loop out of the latency. Dagster allows that only with a separately started code server; a server that `dagster dev`
starts itself is recycled every minute and would cut a held tick, so there the sensor looks once and returns.

The cursor moves when the run is asked for. If that run fails, the hour's closing run archives what it left, and the
check `no_gaps` names it until then. There is no `run_key`: Dagster remembers those for ever, and a cursor that was
reset to archive again would be ignored without a word.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing

import dagster as dg

from assets.partitions import ingest_hour_key
from assets.raw_events.ranges import RAW_GROUP, committed
from contracts.event_types import TOPICS
from resources.dagster_resources import EventLogResource
from resources.event_log.base import EventLog, TopicPartition
from resources.raw_store.base import PositionRange
from sensors.offsets import Cursor, Request, pending, plan

MOST_MESSAGES = 500_000
"""Per run: about a minute of work. The rest is left to the next tick, and the skip or log line says how much."""

_COMMIT_POLL = 0.05
_QUEUE_POLL = 0.25
_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


_BEFORE_THE_LOOP = 0.7


def hold_seconds() -> float:
    """How long a tick may be held: just under TALLY_LONG_POLL_SECONDS, 0 where the code server is not our own.

    The daemon looks for sensors to start every 5 s. A tick that ends just before it looks is followed by the next at
    once; one that ends just after leaves a gap of 5 s in which nobody listens, in every 25.
    """
    return max(0.0, float(os.environ.get("TALLY_LONG_POLL_SECONDS", "0") or 0) - _BEFORE_THE_LOOP)


def wait_for_work(log: EventLog, cursor: Cursor, hold: float) -> list[PositionRange]:
    """Return what is pending, waiting up to `hold` seconds for it."""
    deadline = time.monotonic() + hold
    while True:
        commits = committed(log)
        ranges = pending(log, cursor, commits)
        left = deadline - time.monotonic()
        if ranges or left <= 0:
            return ranges
        ends = _ends(log)
        if any(high > commits.get(place, 0) for place, high in ends.items()):
            time.sleep(min(_COMMIT_POLL, left))  # appended and on its way through the input worker
        else:
            log.wait_for(ends, left)


def build_event_log_sensor(job_name: str, *, running: bool, interval_seconds: int) -> dg.SensorDefinition:
    """The sensor, asking for runs of `job_name`. `running`: whether it starts by itself."""

    @dg.sensor(
        name="event_log_sensor",
        job_name=job_name,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Asks for one run of raw_events with the exact offset ranges that the raw group has read since its cursor. "
            "Holds its tick up to TALLY_LONG_POLL_SECONDS when it runs on its own code server."
        ),
        tags={"domain": "events"},
    )
    def event_log_sensor(context: dg.SensorEvaluationContext, event_log: EventLogResource) -> dg.SensorResult:
        waiting_runs = dg.RunsFilter(job_name=job_name, statuses=list(_WAITING))
        with closing(event_log.open()) as log:
            return evaluate(
                log,
                context.cursor,
                hold_seconds(),
                waiting=lambda: context.instance.get_runs_count(waiting_runs),
            )

    return event_log_sensor


def evaluate(
    log: EventLog,
    cursor_text: str | None,
    hold: float,
    most: int = MOST_MESSAGES,
    waiting: Callable[[], int] = lambda: 0,
) -> dg.SensorResult:
    """One tick: a run request for what is pending, or the reason why there is none.

    `waiting` counts the runs that were asked for and have not started; while there is one, none is asked for.
    """
    cursor = Cursor.load(cursor_text)
    deadline = time.monotonic() + hold
    while (queued := waiting()) and time.monotonic() < deadline:
        time.sleep(_QUEUE_POLL)
    if queued:
        behind = sum(where.end - where.start for where in pending(log, cursor, committed(log)))
        return dg.SensorResult(
            skip_reason=f"{queued} run(s) wait to start; the next one will take the {behind:,} messages since then",
            cursor=cursor.dump(),
        )
    ranges = wait_for_work(log, cursor, max(0.0, deadline - time.monotonic()))
    if not ranges:
        return dg.SensorResult(skip_reason=_why_nothing(log, hold), cursor=cursor.dump())
    request = plan(log, cursor, ranges, most)
    return dg.SensorResult(run_requests=[run_request(request)], cursor=request.cursor.dump())


def run_request(request: Request) -> dg.RunRequest:
    """The run: exact ranges in its config, its hours as partitions, a short hash of the ranges as a tag."""
    keys = [ingest_hour_key(hour) for hour in sorted(request.hours)]
    ranges = [
        {
            "hour": ingest_hour_key(hour),
            "topic": r.log_topic,
            "partition": r.log_partition,
            "start": r.start,
            "end": r.end,
        }
        for hour, inside in sorted(request.hours.items())
        for r in inside
    ]
    tags = {
        "tally/offsets": request.digest,
        "tally/messages": str(request.messages),
        "tally/left_for_next": str(request.left),
        "dagster/priority": "10",
    }
    config = {"ops": {"raw_events": {"config": {"ranges": ranges}}}}
    if len(keys) == 1:
        return dg.RunRequest(partition_key=keys[0], run_config=config, tags=tags)
    return dg.RunRequest(run_config=config, tags={**tags, _RANGE_START: keys[0], _RANGE_END: keys[-1]})


def _ends(log: EventLog) -> dict[TopicPartition, int]:
    return {
        TopicPartition(topic, partition): high
        for topic in TOPICS
        for partition, (_, high) in log.watermarks(topic).items()
    }


def _why_nothing(log: EventLog, hold: float) -> str:
    ends, commits = _ends(log), committed(log)
    behind: Mapping[TopicPartition, int] = {
        place: high - commits.get(place, 0) for place, high in ends.items() if high > commits.get(place, 0)
    }
    if not behind:
        return f"nothing new in {hold:g} s: all {sum(ends.values()):,} messages of the log are read and asked for"
    worst = max(behind, key=lambda place: behind[place])
    return (
        f"group {RAW_GROUP!r} is {sum(behind.values()):,} messages behind the log's end, most in {worst.topic}/"
        f"{worst.partition} ({behind[worst]:,}), and has read nothing new in {hold:g} s"
    )
