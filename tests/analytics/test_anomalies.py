"""What is flagged and what is not: clean noise, contaminated histories, histories without spread."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analytics.anomalies import modified_z, score_series, threshold_of

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def share_flagged(rng: np.random.Generator, readings: int, trials: int, *, contaminated: float, shift: float) -> float:
    """Share of new readings (normal, moved by `shift` sigmas) that are flagged after so many, a part of them wild."""
    before = rng.normal(100, 10, (trials, readings))
    wild = rng.random((trials, readings)) < contaminated
    before[wild] += rng.choice([-1, 1], wild.sum()) * rng.uniform(100, 1000, wild.sum())
    values = rng.normal(100, 10, trials) + 10 * shift
    threshold = threshold_of(readings)
    found = [modified_z(value, row).score for value, row in zip(values, before, strict=True)]
    return float(np.mean([score is not None and abs(score) > threshold for score in found]))


@pytest.mark.parametrize("readings", [8, 12, 26, 52])
def test_clean_noise_is_flagged_at_most_twice_in_a_thousand(readings: int) -> None:
    trials = 20_000
    found = share_flagged(np.random.default_rng(readings), readings, trials, contaminated=0, shift=0)
    # One in a thousand is meant; 2.58 standard errors above that is still below 0.2 %.
    assert found + 2.58 * (0.001 / trials) ** 0.5 <= 0.002 + 2.58 * (0.002 / trials) ** 0.5
    assert found <= 0.002


@pytest.mark.parametrize("readings", [52, 100])
def test_a_tenth_of_wild_readings_hides_nothing(readings: int) -> None:
    trials = 4000
    found = share_flagged(np.random.default_rng(readings), readings, trials, contaminated=0.1, shift=8)
    assert found - 2.58 * (found * (1 - found) / trials) ** 0.5 >= 0.95


def test_without_a_median_deviation_the_mean_one_is_taken_and_without_any_there_is_no_score() -> None:
    # median 5, MAD 0, mean absolute deviation 2/10
    assert modified_z(8, [5] * 9 + [7]) == (5.0, pytest.approx(3 / (1.253314 * 0.2)), "mean_deviation")
    assert modified_z(8, [5] * 10) == (5.0, None, "")
    assert modified_z(12, [1, 2, 3, 4, 5]) == (3.0, pytest.approx(0.6745 * 9 / 1), "mad")


def a_series(weeks: int, seed: int = 4) -> pl.DataFrame:
    """Hourly counts with a rhythm of the week, twice as high at weekends, never 0."""
    rng = np.random.default_rng(seed)
    hours = weeks * 168
    usual = [200 + 100 * (h % 24 > 8) + (300 if h // 24 % 7 >= 5 else 0) for h in range(hours)]
    return pl.DataFrame(
        {
            "bucket": [MONDAY + timedelta(hours=h) for h in range(hours)],
            "value": rng.poisson(usual).astype(float),
            "complete": [True] * hours,
        }
    )


def test_a_reading_is_compared_with_its_own_hour_of_the_week() -> None:
    series = a_series(30)
    at = 29 * 168 + 10  # a Monday at ten: 300 are usual; 600 are so on Sundays
    moved = series.with_columns(
        value=pl.when(pl.int_range(pl.len()) == at).then(600.0).otherwise("value"),
    )
    scored = score_series(moved)
    assert scored["anomaly"][at] == "high"
    assert scored["readings"][at] == 29
    assert scored["median"][at] == pytest.approx(300, abs=20)
    quiet = scored.with_row_index().filter((pl.col("anomaly") != "") & (pl.col("index") != at))
    assert quiet.height <= 0.002 * scored.height + 3
    by_day = score_series(moved, season="hour_of_day")
    weekend = by_day.filter(pl.col("bucket").dt.weekday() >= 6)
    assert (weekend["anomaly"] == "high").mean() > 0.5  # as busy as every weekend, but not as a day


def test_nothing_where_there_always_was_something_is_an_absence() -> None:
    series = a_series(6).with_columns(
        value=pl.when(pl.int_range(pl.len()).is_in([5 * 168 + 3, 5 * 168 + 4])).then(None).otherwise("value"),
    )
    scored = score_series(series)
    assert scored["anomaly"].to_list()[5 * 168 + 3 : 5 * 168 + 5] == ["absence", "absence"]
    assert scored.filter(pl.col("anomaly") != "").height == 2
    assert scored["score"].null_count() == scored.height  # too few weeks for a score
    empty = score_series(series.with_columns(value=pl.lit(0.0)))
    assert set(empty["anomaly"]) == {""}  # nothing was ever there


def test_an_incomplete_bucket_is_neither_scored_nor_compared_with() -> None:
    series = a_series(12)
    last = series.height - 1
    open_end = series.with_columns(
        complete=pl.int_range(pl.len()) != last,
        value=pl.when(pl.int_range(pl.len()) == last).then(0.0).otherwise("value"),
    )
    scored = score_series(open_end)
    assert scored["score"][last] is None
    assert scored["anomaly"][last] == ""
