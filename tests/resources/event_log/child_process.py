"""A process of its own on an event log, for tests that stop and kill it. Speaks lines of JSON.

child_process.py URL SESSION_TIMEOUT append TOPIC NAME BATCHES SIZE
child_process.py URL SESSION_TIMEOUT member GROUP TOPIC [MEMBER_ID]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from resources.event_log import Commit, EventLog, FencedError, Messages, TopicPartition, open_event_log


def say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def append(log: EventLog, topic: str, name: str, batches: int, size: int) -> None:
    """Append numbered messages; say what is durable as soon as it is."""
    for batch in range(batches):
        values = [f"{name}:{batch}:{number}".encode() for number in range(size)]
        appended = log.append(topic, [value[:12] for value in values], values)
        say(batch=batch, partitions=list(appended.partitions), offsets=list(appended.offsets))


def member(log: EventLog, group: str, topic: str, member_id: str | None) -> None:
    """Consume one message at a time when told `poll`; commit behind it when told `commit`."""
    consumer = log.consumer(group, [topic], member_id=member_id)
    last: Messages | None = None
    for line in sys.stdin:
        if line.strip() == "poll":
            found = []
            while not found:
                found = consumer.poll(1, 0.1)
            last = found[0]
            say(values=[value.decode() for value in last.values if value is not None], partition=last.partition)
        elif line.strip() == "commit" and last is not None:
            try:
                consumer.commit({TopicPartition(last.topic, last.partition): Commit(last.offsets[-1] + 1, "child")})
                say(committed=True)
            except FencedError as error:
                say(fenced=str(error))


def main() -> None:
    url, session_timeout, mode, *rest = sys.argv[1:]
    log = open_event_log(url, session_timeout=float(session_timeout))
    if mode == "append":
        append(log, rest[0], rest[1], int(rest[2]), int(rest[3]))
    else:
        member(log, rest[0], rest[1], rest[2] if len(rest) > 2 else None)
    log.close()


main()
