"""What the simulator says each campaign earned is what the tables say, in every model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from contracts.ads import MODELS
from contracts.envelope import EVENT_SCHEMA
from resources.clickhouse import insert_frame, query_frame
from serving.attribution import AttributionQuery, compare
from streaming.publisher.live_ads import refresh_live_ads
from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, Truth
from streaming.simulator.run import history

START = datetime(2026, 11, 18, tzinfo=UTC)
END = START + timedelta(hours=20)


def test_the_campaigns_that_earned_a_conversion_are_credited_with_it_in_every_model(clickhouse: Any) -> None:
    network = SimulatedNetwork(SimulationConfig(rate=5, window_seconds=600, people=2000))
    truth = Truth()
    history(network, FaultRates(late=0.05), START, END, lambda _rows: None, truth=truth)
    ads = truth.events.filter(pl.col("type").str.starts_with("ad."))
    stored = ads.with_columns(
        workspace=pl.lit("demo"), network=pl.lit("sim"), received_at=pl.col("occurred_at"),
        event_time=pl.col("occurred_at"), time_flag=pl.lit("ok"), sdk=pl.lit("simulator/1"),
        schema_version=pl.lit(2, pl.UInt16), receipt_id=pl.lit("r"), raw=pl.lit("{}"),
    ).select(list(EVENT_SCHEMA)).with_row_index("log_offset").with_columns(
        log_topic=pl.lit("ad-events"), log_partition=pl.lit(0, pl.Int32), log_offset=pl.col("log_offset").cast(pl.Int64)
    )  # fmt: skip
    insert_frame(clickhouse, "events", stored.drop("raw"))
    while refresh_live_ads(clickhouse, datetime.now(UTC)):
        pass

    found = compare(clickhouse, AttributionQuery(START - timedelta(hours=4), END), None).frame
    expected = truth.earned()
    assert len(expected) == network.world.campaigns + 1
    assert expected["unattributed"] > 0, "conversions that came late lie before their click"
    for model in MODELS:
        told = dict(found.filter(pl.col("member") != "total").select("member", f"revenue_{model}").iter_rows())
        assert told == expected, model
    everything = query_frame(
        clickhouse,
        "SELECT sum(JSONExtractInt(properties, 'amount_minor')) AS n FROM events WHERE type = 'ad.converted'",
    )
    assert everything["n"].item() == sum(expected.values())
