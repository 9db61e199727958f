"""Rules on real stores: complete buckets only, one incident per group told once, also when the evaluator is killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.alerts.model import Rule
from orchestration.alerts.evaluate import evaluate, rehearse
from orchestration.alerts.store import AlertStore
from serving.errors import QueryError

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rule(**fields: object) -> Rule:
    given = {"id": "quiet", "version": 1, "description": "d", "metric": "events", "by": ["network"],
             "when": {"kind": "absence"}, "close_after": 1, "cool_down_buckets": 0}  # fmt: skip
    return Rule.model_validate({**given, **fields})


@pytest.fixture
def hour(platform: Any, make_events: Any) -> Any:
    """Send an hour's events of these networks, appended as it ends."""

    def send(number: int, *networks: str) -> None:
        begin = START + number * HOUR
        for index, network in enumerate(networks):
            events = make_events(100 * number + index, 40, begin, begin + HOUR, (network,))
            platform.send(events, at=begin + HOUR)

    return send


def test_a_network_that_falls_silent_is_told_once_and_again_after_it_was_back(
    platform: Any, hour: Any, tmp_path: Path
) -> None:
    store, quiet = AlertStore(tmp_path / "alerts.db"), rule()
    told = []
    for number in range(8):
        hour(number, *(("app",) if number in {3, 4, 6} else ("app", "web")))
        for minutes in (1, 20):  # at one minute past the hour before is not complete yet
            now = START + (number + 1) * HOUR + timedelta(minutes=minutes)
            for _ in range(2):  # killed after its work was done, and started again
                told += evaluate(platform.clickhouse, store, quiet, now)
    assert [(each.member, each.opened) for each in told] == [
        ("network=web", START + 3 * HOUR),
        ("network=web", START + 6 * HOUR),
    ]
    # The last hour sent can still grow: nobody knows yet that the second one is over.
    assert [each.closed for each in store.incidents()] == [None, START + 6 * HOUR]
    rehearsed = rehearse(platform.clickhouse, quiet, START, START + 9 * HOUR)
    assert [(member, verdict.bucket) for member, verdict in rehearsed] == [
        ("network=web", START + 3 * HOUR),
        ("network=web", START + 6 * HOUR),
    ]


def test_a_silence_tells_nobody_and_an_unknown_metric_is_named(platform: Any, hour: Any, tmp_path: Path) -> None:
    store = AlertStore(tmp_path / "alerts.db")
    many = rule(id="many", by=[], when={"kind": "threshold", "above": 10}, channels=["ops"])
    hour(0, "app")
    hour(1, "app")
    now = START + 2 * HOUR + timedelta(minutes=20)
    store.silence("many", now + HOUR)
    (incident,) = evaluate(platform.clickhouse, store, many, now)
    assert incident.silenced
    assert store.messages() == []
    (again,) = evaluate(platform.clickhouse, store, many.model_copy(update={"version": 2}), now + 2 * HOUR)
    assert not again.silenced
    assert [(m.channel, m.status) for m in store.messages()] == [("ops", "due")]
    with pytest.raises(QueryError, match="nothing_known"):
        evaluate(platform.clickhouse, store, rule(metric="nothing_known"), now)
