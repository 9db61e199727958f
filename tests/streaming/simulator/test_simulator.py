"""The simulated network: deterministic, at the rate asked, shaped like a social network, with a truth that adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import polars as pl
import pytest

from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, Truth, deliver
from streaming.simulator.faults import encode_rows
from streaming.simulator.run import history, live

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def network(**config: object) -> SimulatedNetwork:
    return SimulatedNetwork(SimulationConfig(**config))  # type: ignore[arg-type] # test shorthand


def test_a_window_is_the_same_whenever_and_wherever_it_is_generated() -> None:
    number = network().windows(NOON, NOON + timedelta(minutes=1))[3]
    alone = network().window(number)
    another = network()
    for n in range(number - 2, number):
        another.window(n)
    assert another.window(number).equals(alone)
    assert not network(seed=8).window(number).equals(alone)


@pytest.mark.parametrize("rate", [10, 300, 5000])
def test_the_rate_is_the_one_asked_for(rate: int) -> None:
    net = network(rate=rate, steady=True, window_seconds=10)
    windows = net.windows(NOON, NOON + timedelta(seconds=60 if rate > 100 else 600))
    events = sum(net.window(n).height for n in windows)
    assert events / (len(windows) * 10) == pytest.approx(rate, rel=0.1)


def test_events_lie_in_their_window_and_ids_are_unique() -> None:
    net = network(rate=1000)
    number = net.windows(NOON, NOON + timedelta(seconds=1)).start
    events = net.window(number)
    start = datetime.fromtimestamp(number * 10, UTC)
    assert events["occurred_at"].is_between(start, start + timedelta(seconds=10), closed="left").all()
    assert events["event_id"].is_unique().all()
    assert (
        events["event_id"].str.contains(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").all()
    )


def test_popularity_follows_a_power_law_and_evenings_are_busier_than_nights() -> None:
    net = network(rate=200, window_seconds=60)
    evening = net.window(net.windows(NOON.replace(hour=19), NOON.replace(hour=20)).start)
    night = net.window(net.windows(NOON.replace(hour=4), NOON.replace(hour=5)).start)
    assert evening.height > 2 * night.height
    views = evening.filter(pl.col("type") == "content.viewed")["object"].value_counts(sort=True)
    assert views["count"].head(len(views) // 10).sum() > 0.5 * views["count"].sum()


def test_a_conversion_is_somebodys_click_and_a_click_somebodys_impression() -> None:
    net = network(rate=500, window_seconds=60, steady=True)
    number = net.windows(NOON, NOON + timedelta(minutes=1)).start
    seen = pl.concat([net.window(n) for n in range(number - 1, number)])
    clicked = net.window(number).filter(pl.col("type") == "ad.clicked")
    shown = seen.filter(pl.col("type") == "ad.impression").select("actor", "object").unique()
    assert clicked.height > 100
    assert clicked.join(shown, on=["actor", "object"], how="anti").is_empty()


def test_the_truth_accounts_for_every_row_that_was_sent() -> None:
    net = network(rate=20, window_seconds=60)
    truth = Truth()
    arrived: list[bytes] = []
    faults = FaultRates(late=0.02, duplicate=0.02, broken=0.02)
    sent = history(net, faults, NOON, NOON + timedelta(hours=1), arrived.extend, truth=truth, batch_rows=1000)
    summary = truth.summary()
    assert sent == len(arrived) == summary["sent"]
    assert summary["sent"] == summary["stored"] + summary["duplicate"] + summary["quarantined"]  # type: ignore[operator] # ints
    assert set(truth.broken) == {"not_json", "no_actor", "unknown_type", "bad_time", "from_1970"}
    ids = [orjson.loads(row)["event_id"] for row in arrived if row.endswith(b"}") and b'schema_version":2}' in row]
    assert set(truth.events["event_id"]) <= set(ids)
    assert truth.hourly()["events"].sum() == truth.events.height
    assert (truth.events["occurred_at"] < NOON).any(), "late rows reach back before the first hour"


def test_the_truth_of_a_live_stream_that_ends_within_a_window_is_what_was_sent() -> None:
    net = network(rate=400, window_seconds=2, steady=True)
    truth = Truth()
    arrived: list[bytes] = []
    faults = FaultRates(late=0.02, duplicate=0.05, broken=0.05)
    sent = live(net, faults, arrived.extend, duration=timedelta(seconds=3), truth=truth)
    assert truth.start is not None
    assert truth.end == truth.start + timedelta(seconds=3)
    assert sent == len(arrived) == truth.summary()["sent"]
    assert sent == truth.events.height + truth.duplicates + sum(truth.broken.values())
    assert set(encode_rows(truth.events)) <= set(arrived)
    assert len(set(arrived) - set(encode_rows(truth.events))) <= sum(truth.broken.values())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_a_part_of_a_delivery_adds_up(share: float) -> None:
    net = network(rate=300)
    number = net.windows(NOON, NOON + timedelta(seconds=1)).start
    whole = deliver(net.window(number), FaultRates(duplicate=0.1, broken=0.1), 7, number)
    part = whole.first(round(len(whole.rows) * share))
    assert len(part.rows) == part.clean.height + part.duplicates + sum(part.broken.values())
    assert set(encode_rows(part.clean)) <= set(part.rows)
    assert part.duplicates <= whole.duplicates
    assert part.clean.height <= whole.clean.height


def test_a_broken_row_never_takes_the_identity_of_a_good_one() -> None:
    net = network(rate=500)
    number = net.windows(NOON, NOON + timedelta(seconds=1)).start
    delivery = deliver(net.window(number), FaultRates(broken=0.05), 7, number)
    broken_ids = {row[13:49] for row in delivery.rows if row[13:49].endswith(b"dead" * 3)}
    assert broken_ids
    assert not broken_ids & {i.encode() for i in delivery.clean["event_id"]}
