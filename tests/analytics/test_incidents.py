"""When an incident begins and ends, and a month replayed: what was planted is found, and hardly anything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analytics.incidents import IncidentState, opened_by, step, verdicts
from contracts.alerts.model import Rule

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rule(when: dict[str, object], **fields: object) -> Rule:
    return Rule.model_validate(
        {"id": "r", "version": 1, "description": "d", "metric": "events", "when": when, **fields}
    )


def series(values: Sequence[float | None], complete: int | None = None) -> pl.DataFrame:
    ends = len(values) if complete is None else complete
    return pl.DataFrame(
        {
            "bucket": [START + n * HOUR for n in range(len(values))],
            "value": list(values),
            "complete": [n < ends for n in range(len(values))],
        },
        schema_overrides={"value": pl.Float64},
    )


def hours(found: Sequence[object]) -> list[int]:
    return [round((verdict.bucket - START) / HOUR) for verdict in found]  # type: ignore[attr-defined]


def test_a_threshold_opens_after_so_many_buckets_and_closes_past_its_clear_level() -> None:
    above = rule({"kind": "threshold", "above": 10, "clear": 5}, open_after=2, close_after=1, cool_down_buckets=0)
    #         one is not enough |   opens   | between keeps it open | clears |  opens anew
    values = [0, 11, 0, 11, 12, 13, 7, 8, 20, 5, 11, 11]
    assert hours(opened_by(above, verdicts(above, series(values)))) == [4, 11]
    below = rule({"kind": "threshold", "below": 3})
    assert hours(opened_by(below, verdicts(below, series([5, 2, None, 5])))) == [1]


def test_within_the_cool_down_the_same_incident_goes_on_and_nobody_is_told_again() -> None:
    flapping = rule({"kind": "threshold", "above": 10}, close_after=1, cool_down_buckets=3)
    values = [11, 0, 11, 0, 0, 11, 0, 0, 0, 0, 11]
    judged = verdicts(flapping, series(values))
    assert hours(opened_by(flapping, judged)) == [0, 10]
    state, happened = IncidentState(), []
    for verdict in judged:
        state, what = step(flapping, state, verdict)
        happened.append(what)
    assert happened == ["opened", "closed", "reopened", "closed", "", "reopened", "closed", "", "", "", "opened"]


def test_a_change_is_against_the_bucket_before_or_the_week_before() -> None:
    rise = rule({"kind": "change", "rise": 1.0, "fall": 0.5, "least": 5})
    judged = verdicts(rise, series([1, 4, 10, 20, 9, 9]))
    assert [v.judgement for v in judged] == ["between", "between", "between", "bad", "bad", "good"]
    assert judged[3].text == "events is 20, +100% against the hour before (10)"
    week = rule({"kind": "change", "against": "week", "fall": 0.5})
    assert hours(opened_by(week, verdicts(week, series([100] * 168 + [90, 40, 100])))) == [169]


def test_an_absence_is_nothing_after_something_in_complete_buckets() -> None:
    absent = rule({"kind": "absence"}, open_after=2)
    assert hours(opened_by(absent, verdicts(absent, series([0, 0, 0, 4, 0, 3, 0, None, 0])))) == [7]
    assert opened_by(absent, verdicts(absent, series([4, 0, 0, 0], complete=2))) == []


def a_quarter(seed: int) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
    """Sixty weeks of hours with a rhythm, then thirty days with twenty planted incidents (first, last hour)."""
    rng = np.random.default_rng(seed)
    history, days = 60 * 168, 30
    count = history + days * 24
    hour = np.arange(count)
    usual = 400 + 250 * np.sin((hour % 24 - 8) / 24 * 2 * np.pi) + 120 * (hour // 24 % 7 >= 5)
    values = rng.normal(usual, 0.06 * usual)
    planted = []
    for number in range(20):
        first = history + 12 + number * 34 + int(rng.integers(0, 12))
        last = first + int(rng.integers(1, 6))
        kind = number % 4
        if kind == 0:
            values[first : last + 1] *= 1.8
        elif kind == 1:
            values[first : last + 1] *= 0.4
        elif kind == 2:
            values[first : last + 1] = 0
        else:
            values[first : last + 1] += 2500
        planted.append((first, last))
    return series(np.round(np.maximum(values, 0)).tolist()), planted


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thirty_days_replayed_have_nine_tenths_precision_and_recall(seed: int) -> None:
    replayed, planted = a_quarter(seed)
    begin = 60 * 168
    judging = {
        "anomaly": rule({"kind": "anomaly"}),
        "absence": rule({"kind": "absence"}),
        "threshold": rule({"kind": "threshold", "above": 2000, "clear": 1000}),
    }
    alerts = {name: [] for name in judging}
    for name, each in judging.items():
        judged = [v for v in verdicts(each, replayed) if v.bucket >= START + begin * HOUR]
        alerts[name] = hours(opened_by(each, judged))

    def is_in(hour: int) -> bool:
        return any(first <= hour <= last for first, last in planted)

    told = [hour for found in alerts.values() for hour in found]
    found = [any(first <= hour <= last for hour in told) for first, last in planted]
    assert sum(map(is_in, told)) / len(told) >= 0.9
    assert sum(found) / len(planted) >= 0.9
    # One incident, one alert: no rule tells twice of the same one.
    for each in alerts.values():
        assert len([h for h in each if is_in(h)]) == sum(any(a <= h <= b for h in each) for a, b in planted)
