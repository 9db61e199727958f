"""A backlog becomes one run: while a run of the sensor waits to start, it asks for no other."""

from __future__ import annotations

from pathlib import Path

from contracts.event_types import TOPICS
from resources.event_log import open_event_log
from resources.event_log.base import Commit, TopicPartition, TopicSpec
from sensors.event_log import evaluate


def test_a_backlog_is_left_to_the_run_after_the_waiting_one(tmp_path: Path) -> None:
    log = open_event_log(f"sqlite:///{tmp_path}/log.db")
    log.create_topics([TopicSpec(topic, 1) for topic in TOPICS])
    consumer = log.consumer("raw", TOPICS)
    consumer.poll(1, 1.0)
    taken = []
    for queued in (0, 1, 1, 0):
        log.append("content-events", [b"k"] * 10, [b"{}"] * 10)
        high = log.watermarks("content-events")[0][1]
        consumer.commit({TopicPartition("content-events", 0): Commit(high)})
        result = evaluate(log, taken[-1].cursor if taken else None, 0.0, waiting=lambda queued=queued: queued)
        taken.append(result)
    requests = [result.run_requests for result in taken]
    assert [len(asked or []) for asked in requests] == [1, 0, 0, 1]
    assert "1 run(s) wait to start; the next one will take the 20 messages" in str(taken[2].skip_reason)
    assert requests[3] is not None
    ranges = requests[3][0].run_config["ops"]["raw_events"]["config"]["ranges"]
    assert [(r["start"], r["end"]) for r in ranges] == [(10, 40)], "everything since the first run, in one"
    consumer.close()
    log.close()
