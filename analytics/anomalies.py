"""Anomalies of a series of complete buckets, against the same hour of the week (or of the day) before.

Belongs here: modified z and its fallback, how wide its threshold must be, absence. Does not belong here: reading a
metric, deciding when an alert is raised (`analytics.incidents`).

Formulas: docs/definitions.md, "Anomalies". A score is 0.6745 (x - median) / MAD of the readings before x; where MAD is
0, (x - median) / (1.253314 x mean absolute deviation); where that is 0 too, there is none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.tails import Floats

Season = Literal["hour_of_week", "hour_of_day"]

THRESHOLD = 3.5
LEAST_READINGS = 8
LEAST_FOR_ABSENCE = 4

# A median and a MAD of few readings are noisy themselves: with 8 of them 4.8 % of clean noise scores above 3.5. These
# are the scores that one in a thousand clean readings exceeds, by the number of readings before it.
_READINGS = (8, 10, 12, 16, 20, 26, 40, 52, 100)
_WIDER = (11.65, 8.99, 7.40, 6.09, 5.35, 4.74, 4.09, 3.88, THRESHOLD)

SCORED_SCHEMA: dict[str, pl.DataType] = {
    "readings": pl.Int64(),  # of the same season before it
    "median": pl.Float64(),
    "score": pl.Float64(),  # null: too few readings, or no spread
    "threshold": pl.Float64(),
    "basis": pl.String(),  # 'mad', 'mean_deviation' or ''
    "anomaly": pl.String(),  # '', 'high', 'low' or 'absence'
}


class Score(NamedTuple):
    median: float
    score: float | None
    basis: str


def threshold_of(readings: int) -> float:
    """The score above which a reading is an anomaly: 3.5, and more after fewer than 100 readings.

    So wide that at most 0.2 % of clean noise exceeds it, whatever the number of readings (at least LEAST_READINGS).
    """
    return float(np.interp(1 / readings, [1 / n for n in reversed(_READINGS)], list(reversed(_WIDER))))


def modified_z(value: float, before: npt.ArrayLike) -> Score:
    """Score a reading against those before it (at least one)."""
    readings: Floats = np.asarray(before, dtype=np.float64)
    median = float(np.median(readings))
    deviations = np.abs(readings - median)
    mad = float(np.median(deviations))
    if mad > 0:
        return Score(median, 0.6745 * (value - median) / mad, "mad")
    mean = float(deviations.mean())
    if mean > 0:
        return Score(median, (value - median) / (1.253314 * mean), "mean_deviation")
    return Score(median, None, "")


def score_series(series: pl.DataFrame, *, season: Season = "hour_of_week", most_readings: int = 52) -> pl.DataFrame:
    """Add SCORED_SCHEMA to a series, each reading scored against at most `most_readings` of its season before it.

    series: `bucket` (start, any zone, in order), `value` (null or 0: nothing happened), `complete`. What is not
    complete is neither scored nor compared with. A bucket in which nothing happened, although something did in every
    one of its season before (at least 4), is an absence, whatever its score.
    """
    slots = series["bucket"].dt.hour().cast(pl.Int64)
    if season == "hour_of_week":
        slots = slots + 24 * series["bucket"].dt.weekday().cast(pl.Int64)
    before: dict[int, list[float]] = {}
    rows = []
    columns = (slots, series["value"].cast(pl.Float64).fill_null(0.0), series["complete"])
    for slot, value, complete in zip(*columns, strict=True):
        known = before.setdefault(slot, [])
        rows.append(_scored(value, known[-most_readings:]) if complete else (len(known), None, None, None, "", ""))
        if complete:
            known.append(value)
    return series.hstack(pl.DataFrame(rows, schema=SCORED_SCHEMA, orient="row"))


def _scored(value: float, before: list[float]) -> tuple[int, float | None, float | None, float | None, str, str]:
    count = len(before)
    absent = value == 0 and count >= LEAST_FOR_ABSENCE and min(before) > 0
    if count < LEAST_READINGS:
        median = float(np.median(before)) if before else None
        return count, median, None, None, "", "absence" if absent else ""
    found, threshold = modified_z(value, before), threshold_of(count)
    anomaly = ""
    if found.score is not None and abs(found.score) > threshold:
        anomaly = "high" if found.score > 0 else "low"
    return count, found.median, found.score, threshold, found.basis, "absence" if absent else anomaly


def season_start(bucket: datetime, season: Season, readings: int) -> datetime:
    """How far back a series must reach to score the reading at `bucket` against so many of its season."""
    return bucket - readings * (timedelta(weeks=1) if season == "hour_of_week" else timedelta(days=1))
