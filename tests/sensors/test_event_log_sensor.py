"""The event-log sensor on a real log: exact ranges, one run, hours, caps, holding the tick, and its cursor."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.partitions import HOUR, hour_start, ingest_hour_key
from assets.positions import total
from resources.event_log.base import TopicPartition
from resources.raw_store.base import PositionRange
from sensors.event_log import build_event_log_sensor, evaluate, hold_seconds
from sensors.offsets import Cursor

CURRENT = hour_start(datetime.now(UTC))


def ranges_of(request: dg.RunRequest) -> dict[str, list[PositionRange]]:
    by_hour: dict[str, list[PositionRange]] = {}
    for item in request.run_config["ops"]["raw_events"]["config"]["ranges"]:
        place = PositionRange(item["topic"], item["partition"], item["start"], item["end"])
        by_hour.setdefault(item["hour"], []).append(place)
    return by_hour


def send(platform: Any, make_events: Any, at: datetime, count: int, seed: int = 1) -> None:
    platform.send(make_events(seed, count, at, at + timedelta(minutes=1)), at=at, live=False)


def test_one_run_with_exactly_what_is_new(platform: Any, make_events: Any) -> None:
    at = CURRENT - HOUR + timedelta(minutes=30)
    send(platform, make_events, at, 40)
    result = evaluate(platform.log, None, 0.0)
    (request,) = result.run_requests or []
    assert request.partition_key == ingest_hour_key(hour_start(at))
    assert request.run_key is None
    assert total(ranges_of(request)[str(request.partition_key)]) == 40
    assert request.tags["tally/messages"] == "40"
    assert len(request.tags["tally/offsets"]) == 12

    quiet = evaluate(platform.log, result.cursor, 0.0)
    assert quiet.skip_reason
    assert "nothing new" in (quiet.skip_reason.skip_message or "")
    assert quiet.cursor == result.cursor

    send(platform, make_events, at + timedelta(minutes=5), 3, seed=2)
    (more,) = evaluate(platform.log, result.cursor, 0.0).run_requests or []
    assert total(ranges_of(more)[str(more.partition_key)]) == 3
    assert more.tags["tally/offsets"] != request.tags["tally/offsets"]


def test_a_backlog_of_several_hours_is_one_run_and_a_cap_leaves_the_rest(platform: Any, make_events: Any) -> None:
    hours = [CURRENT - back * HOUR for back in (5, 4, 2)]
    for number, hour in enumerate(hours):
        send(platform, make_events, hour + timedelta(minutes=10), 30, seed=number)
    (request,) = evaluate(platform.log, None, 0.0).run_requests or []
    by_hour = ranges_of(request)
    assert list(by_hour) == [ingest_hour_key(hour) for hour in hours]
    assert [total(ranges) for ranges in by_hour.values()] == [30, 30, 30]
    assert request.tags["dagster/asset_partition_range_start"] == ingest_hour_key(hours[0])
    assert request.tags["dagster/asset_partition_range_end"] == ingest_hour_key(hours[-1])

    cursor, taken = None, []
    for left in (50, 10, 0):
        result = evaluate(platform.log, cursor, 0.0, most=40)
        (request,) = result.run_requests or []
        assert request.tags["tally/left_for_next"] == str(left)
        taken += [r for ranges in ranges_of(request).values() for r in ranges]
        cursor = result.cursor
    assert total(taken) == 90
    assert evaluate(platform.log, cursor, 0.0).skip_reason


def test_messages_that_the_raw_group_has_not_read_are_left_and_the_lag_is_told(platform: Any) -> None:
    platform.log.append("content-events", [b"k"] * 7, [b"{}"] * 7)
    result = evaluate(platform.log, None, 0.0)
    assert not result.run_requests
    assert result.skip_reason
    assert "group 'raw' is 7 messages behind" in (result.skip_reason.skip_message or "")


def test_a_held_tick_returns_the_moment_something_is_read(platform: Any, make_events: Any) -> None:
    platform.commit("raw")
    answers: list[tuple[float, dg.SensorResult]] = []

    def hold() -> None:
        answers.append((time.monotonic(), evaluate(platform.log, None, 20.0)))
        answers.append((time.monotonic(), answers[0][1]))

    holder = threading.Thread(target=hold)
    holder.start()
    time.sleep(0.5)
    assert holder.is_alive(), "nothing has come, so the tick is held"
    send(platform, make_events, datetime.now(UTC), 5)
    sent = time.monotonic()
    holder.join(timeout=10)
    assert len(answers[1][1].run_requests or []) == 1
    assert answers[1][0] - sent < 8.0, "long before the 20 s of the hold are over"


def test_a_log_made_anew_starts_from_its_beginning(platform: Any, make_events: Any) -> None:
    beyond = Cursor({TopicPartition("content-events", 0): 10_000, TopicPartition("content-events", 1): 10_000})
    send(platform, make_events, CURRENT, 30)
    (request,) = evaluate(platform.log, beyond.dump(), 0.0).run_requests or []
    assert request.tags["tally/messages"] == "30"


def test_cursors_are_versioned_and_a_foreign_one_is_named() -> None:
    cursor = Cursor({TopicPartition("user-events", 3): 17})
    assert json.loads(cursor.dump()) == {"version": 1, "offsets": {"user-events/3": 17}}
    assert Cursor.load(cursor.dump()) == cursor
    for foreign in ("17", '{"version":2,"offsets":{}}', "not json"):
        with pytest.raises(ValueError, match="reset it in the UI"):
            Cursor.load(foreign)


def test_it_holds_only_where_the_stack_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALLY_LONG_POLL_SECONDS", raising=False)
    assert hold_seconds() == 0
    monkeypatch.setenv("TALLY_LONG_POLL_SECONDS", "20")
    assert 19 < hold_seconds() < 20, "it ends just before the daemon's loop of 5 s looks again"


def test_the_definition_as_dagster_calls_it(platform: Any, make_events: Any) -> None:
    from resources.dagster_resources import EventLogResource

    send(platform, make_events, CURRENT, 4)
    sensor = build_event_log_sensor("archive_events", running=False, interval_seconds=10)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, resources={"event_log": EventLogResource(url=platform.log.url)}
        )
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert len(result.run_requests or []) == 1
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
