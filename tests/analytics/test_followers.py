"""Averages of followers: what an outage does to each, what coverage says of it, and what never enters one."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analytics.followers import READING_SCHEMA, at_each, averages, counted, growth, interpolate

START = datetime(2026, 5, 1, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def series(points: list[tuple[datetime, int]], provenance: str = "observed", account: str = "ann") -> pl.DataFrame:
    rows = [(account, at, followers, provenance) for at, followers in points]
    return pl.DataFrame(rows, schema=READING_SCHEMA, orient="row")


def rising_day() -> list[tuple[datetime, int]]:
    """A reading a minute: up evenly by 109 % until noon, then steady but for a small hump from 12:00 to 18:00."""
    points = []
    for minute in range(24 * 60):
        hour = minute / 60
        value = 1 + 1.09 * min(hour, 12) / 12
        value += 0.0035 * math.sin(math.pi * (hour - 12) / 6) if 12 <= hour <= 18 else 0
        points.append((START + MINUTE * minute, round(1_000_000 * value)))
    return points


def test_an_outage_after_a_rise_biases_the_plain_mean_and_hardly_the_one_by_time() -> None:
    points = rising_day()
    truth = sum(followers for _, followers in points) / len(points)
    seen = [(at, followers) for at, followers in points if not 12 * HOUR < at - START < 18 * HOUR]
    found = averages(series(seen), START, START + DAY, expected_every=MINUTE).row(0, named=True)
    assert found["by_readings"] / truth - 1 == pytest.approx(-0.050, abs=0.0005)
    assert found["by_time"] / truth - 1 == pytest.approx(-0.0002, abs=0.00005)
    assert found["coverage"] == pytest.approx(0.75, abs=0.001)
    assert found["observed_hours"] == pytest.approx(24, abs=0.1)


def test_a_gap_that_is_too_long_is_not_observed() -> None:
    points = [(START, 100), (START + HOUR, 100), (START + 20 * HOUR, 900), (START + 21 * HOUR, 900)]
    found = averages(series(points), START, START + DAY, expected_every=HOUR).row(0, named=True)
    assert (found["by_time"], found["observed_hours"]) == (500, 2)
    assert found["coverage"] == pytest.approx(4 / 24)
    bridged = averages(series(points), START, START + DAY, expected_every=HOUR, longest_gap=DAY)
    assert bridged["by_time"].item() == pytest.approx((100 + 500 * 19 + 900) / 21)


def test_a_lone_reading_is_its_own_average_and_none_is_no_row() -> None:
    found = averages(series([(START, 7)]), START, START + DAY, expected_every=HOUR).row(0, named=True)
    assert (found["by_readings"], found["by_time"], found["observed_hours"]) == (7, 7, 0)
    assert averages(series([(START + DAY, 7)]), START, START + DAY, expected_every=HOUR).is_empty()


def test_what_was_guessed_enters_only_when_asked() -> None:
    readings = pl.concat(
        [
            series([(START, 100)], "observed"),
            series([(START + HOUR, 300)], "imported"),
            series([(START + 2 * HOUR, 9000)], "interpolated"),
            series([(START + 3 * HOUR, 9000)], "estimated"),
        ]
    )
    plain = averages(readings, START, START + DAY, expected_every=HOUR).row(0, named=True)
    assert (plain["by_readings"], plain["readings"], plain["provenances"]) == (200, 2, ["imported", "observed"])
    assert growth(readings, START, START + DAY)["rate"].item() == 2
    asked = averages(readings, START, START + DAY, expected_every=HOUR, provenances=("observed", "estimated"))
    assert asked["by_readings"].item() == 4550
    with pytest.raises(ValueError, match="provenance guessed is not one of observed"):
        counted(readings, ("guessed",))


@pytest.mark.parametrize(("first", "last", "rate"), [(0, 50, None), (100, 150, 0.5), (100, 0, -1), (100, 100, 0)])
def test_growth(first: int, last: int, rate: float | None) -> None:
    found = growth(series([(START, first), (START + HOUR, last)]), START, START + DAY)
    assert found["rate"].to_list() == [rate]


def test_the_average_does_not_depend_on_the_order_or_repetition_of_delivery() -> None:
    chance = random.Random(3)
    points = [(START + MINUTE * minute, chance.randrange(10_000)) for minute in range(500)]
    expected = sum(followers for _, followers in points) / len(points)
    for _ in range(5):
        delivered = points + chance.sample(points, 25)
        chance.shuffle(delivered)
        found = averages(series(delivered), START, START + DAY, expected_every=MINUTE)
        assert found["by_readings"].item() == expected
        assert found["readings"].item() == 500


def test_points_between_readings_are_marked_and_none_is_made_up_outside() -> None:
    readings = series([(START, 100), (START + 4 * HOUR, 200), (START + 5 * HOUR, 200)])
    asked = [START - HOUR, START, START + HOUR, START + 2 * HOUR, START + 6 * HOUR]
    made = interpolate(readings, asked)
    assert made.select("at", "followers").rows() == [(START + HOUR, 125), (START + 2 * HOUR, 150)]
    assert set(made["provenance"]) == {"interpolated"}
    again = averages(pl.concat([readings, made]), START, START + DAY, expected_every=HOUR)
    assert again["readings"].item() == 3


def test_the_followers_a_post_had_are_those_of_the_last_reading_before_it() -> None:
    readings = pl.concat([series([(START, 1), (START + 2 * HOUR, 2)]), series([(START, 9)], account="bob")])
    moments = [START - HOUR, START, START + HOUR, START + 2 * HOUR, START + DAY]
    times = pl.DataFrame({"account": ["ann"] * 5, "t": moments}, schema_overrides={"t": READING_SCHEMA["at"]})
    assert at_each(times, readings, "t")["followers_then"].to_list() == [None, 1, 1, 2, 2]
