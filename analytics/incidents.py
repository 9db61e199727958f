"""From a series to incidents: which buckets are bad under a rule, and when one incident begins and ends.

Belongs here: the verdict of a bucket and the steps of an incident. Does not belong here: reading series, remembering,
telling (`orchestration.alerts`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import polars as pl

from analytics.anomalies import score_series, season_start
from contracts.alerts.model import Absence, Anomaly, Change, Rule, Threshold

GRAINS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}

ABSENCE_MEMORY = timedelta(days=7)
"""For so long something must have come in once, or nothing is said to be absent."""

Judgement = Literal["good", "between", "bad"]


class Verdict(NamedTuple):
    """What a rule says of one complete bucket; `text` is the sentence of an alert ('' unless bad)."""

    bucket: datetime
    judgement: Judgement
    value: float | None
    text: str


@dataclass(frozen=True, slots=True)
class IncidentState:
    """Where a rule stands in one group. `through`: end of the last bucket that was judged."""

    through: datetime | None = None
    bad_in_a_row: int = 0
    good_in_a_row: int = 0
    opened: datetime | None = None  # start of the first bad bucket of the incident that is open, or was last
    closed: datetime | None = None  # end of the bucket that closed it; None while it is open


class Step(NamedTuple):
    """The state after a bucket, and what happened in it: opened tells people; reopened and closed do not."""

    state: IncidentState
    happened: Literal["", "opened", "reopened", "closed"]


def lookback(rule: Rule, bucket: datetime) -> datetime:
    """The start of the series that judging this bucket needs."""
    size = GRAINS[rule.grain]
    if isinstance(rule.when, Anomaly):
        return season_start(bucket, rule.when.season, rule.when.most_readings)
    if isinstance(rule.when, Change):
        return bucket - _distance(rule.when, size)
    if isinstance(rule.when, Absence):
        return bucket - max(ABSENCE_MEMORY, 10 * size)
    return bucket - size


def verdicts(rule: Rule, series: pl.DataFrame) -> list[Verdict]:
    """Judge every complete bucket of a series: `bucket` (start), `value`, `complete`, in order and without holes."""
    judge = {Threshold: _threshold, Change: _change, Anomaly: _anomaly, Absence: _absence}[type(rule.when)]
    judged: list[Verdict] = judge(rule, series)
    return judged


def step(rule: Rule, state: IncidentState, verdict: Verdict) -> Step:
    """Take one more bucket, which must follow the last one."""
    size = GRAINS[rule.grain]
    end = verdict.bucket + size
    bad = state.bad_in_a_row + 1 if verdict.judgement == "bad" else 0
    good = state.good_in_a_row + 1 if verdict.judgement == "good" else 0
    now = replace(state, through=end, bad_in_a_row=bad, good_in_a_row=good)
    is_open = state.opened is not None and state.closed is None
    if is_open and good >= rule.close_after:
        return Step(replace(now, closed=end), "closed")
    if is_open or bad < rule.open_after:
        return Step(now, "")
    if state.closed is not None and verdict.bucket < state.closed + rule.cool_down_buckets * size:
        return Step(replace(now, closed=None), "reopened")
    return Step(replace(now, opened=end - rule.open_after * size, closed=None), "opened")


def opened_by(rule: Rule, judged: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that open an incident, from the beginning of the series on: a rehearsal of the rule."""
    state, found = IncidentState(), []
    for verdict in judged:
        state, happened = step(rule, state, verdict)
        if happened == "opened":
            found.append(verdict)
    return found


def _threshold(rule: Rule, series: pl.DataFrame) -> list[Verdict]:
    when = rule.when
    assert isinstance(when, Threshold)  # noqa: S101 - chosen by type
    sign, limit = (1.0, when.above) if when.above is not None else (-1.0, when.below)
    assert limit is not None  # noqa: S101 - the model has one of both
    clear = limit if when.clear is None else when.clear
    side = "above" if sign > 0 else "below"
    found = []
    for bucket, value in _complete(series):
        if value is None:
            found.append(Verdict(bucket, "between", None, ""))
        elif sign * value > sign * limit:
            found.append(Verdict(bucket, "bad", value, f"{rule.metric} is {value:g}, {side} {limit:g}"))
        else:
            found.append(Verdict(bucket, "good" if sign * value <= sign * clear else "between", value, ""))
    return found


def _change(rule: Rule, series: pl.DataFrame) -> list[Verdict]:
    when = rule.when
    assert isinstance(when, Change)  # noqa: S101 - chosen by type
    known = dict(_complete(series))
    distance = _distance(when, GRAINS[rule.grain])
    found = []
    for bucket, value in known.items():
        before = known.get(bucket - distance)
        if value is None or before is None or before < when.least or before == 0:
            found.append(Verdict(bucket, "between", value, ""))
            continue
        share = value / before - 1
        bad = (when.rise is not None and share >= when.rise) or (when.fall is not None and share <= -when.fall)
        told = {"previous": f"the {rule.grain} before", "day": "the day before", "week": "the week before"}
        text = f"{rule.metric} is {value:g}, {share:+.0%} against {told[when.against]} ({before:g})"
        found.append(Verdict(bucket, "bad" if bad else "good", value, text if bad else ""))
    return found


def _anomaly(rule: Rule, series: pl.DataFrame) -> list[Verdict]:
    when = rule.when
    assert isinstance(when, Anomaly)  # noqa: S101 - chosen by type
    scored = score_series(series, season=when.season, most_readings=when.most_readings).filter("complete")
    kinds = {"both": {"high", "low", "absence"}, "high": {"high"}, "low": {"low", "absence"}}[when.direction]
    found = []
    for row in scored.iter_rows(named=True):
        if row["anomaly"] not in kinds:
            found.append(Verdict(row["bucket"], "good", row["value"], ""))
            continue
        value = row["value"] or 0
        usual = f"usual at this hour: {row['median']:g}"
        if row["anomaly"] == "absence":
            text = f"{rule.metric}: nothing came in ({usual})"
        else:
            text = f"{rule.metric} is {value:g}, unusually {row['anomaly']} ({usual}, score {row['score']:.1f})"
        found.append(Verdict(row["bucket"], "bad", value, text))
    return found


def _absence(rule: Rule, series: pl.DataFrame) -> list[Verdict]:
    found, ever = [], False
    for bucket, value in _complete(series):
        ever = ever or bool(value)
        if value:
            found.append(Verdict(bucket, "good", value, ""))
        elif ever:
            found.append(Verdict(bucket, "bad", value, f"{rule.metric}: nothing came in"))
        else:
            found.append(Verdict(bucket, "between", value, ""))
    return found


def _complete(series: pl.DataFrame) -> Iterable[tuple[datetime, float | None]]:
    return series.filter("complete").select("bucket", pl.col("value").cast(pl.Float64)).iter_rows()


def _distance(when: Change, size: timedelta) -> timedelta:
    return {"previous": size, "day": timedelta(days=1), "week": timedelta(weeks=1)}[when.against]
