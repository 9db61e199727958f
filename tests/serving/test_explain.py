"""`tally explain`: one number down to the log offsets of its events, counted again from them, and its changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from assets.raw_events.process import Stores
from assets.sealing import SealRequest, seal_range
from serving.errors import QueryError
from serving.explain import explain
from serving.query import MetricQuery

HOUR = datetime(2026, 3, 4, 10, tzinfo=UTC)
LATER = timedelta(hours=6)


def seal(platform: Any, cause: str = "seal") -> None:
    request = SealRequest(datetime(1995, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), cause=cause)
    stores = Stores(platform.log, platform.raw_store, platform.archive, platform.clickhouse)
    seal_range(stores, request, "test-run", lambda _text: None)


@pytest.fixture
def sent(platform: Any, make_events: Any) -> pl.DataFrame:
    first = platform.send(make_events(1, 600, HOUR, HOUR + timedelta(minutes=59)), at=HOUR + timedelta(minutes=59))
    more = make_events(2, 300, HOUR + timedelta(hours=1), HOUR + timedelta(hours=1, minutes=59))
    return pl.concat([first, platform.send(more, at=HOUR + timedelta(hours=1, minutes=59))])


def test_a_sealed_number_is_counted_again_from_the_log_offsets_it_names(platform: Any, sent: pl.DataFrame) -> None:
    seal(platform)
    found = explain(platform.clickhouse, MetricQuery("events"), HOUR + timedelta(minutes=20))
    of_hour = sent.filter(pl.col("event_time") < HOUR + timedelta(hours=1))
    assert (found.value, found.counted, found.proven) == (of_hour.height, (of_hour.height,), True)
    assert found.offsets["events"].sum() == of_hour.height
    assert set(found.offsets["topic"]) <= {"user-events", "content-events", "ad-events"}
    assert sorted(found.seals["network"]) == sorted(of_hour["network"].unique())
    assert found.asset == "engagement_hourly"
    assert found.parts["rows"].sum() >= of_hour.height
    assert found.restatements.is_empty()


def test_a_live_number_and_a_ratio_of_one_network_are_explained_too(platform: Any, sent: pl.DataFrame) -> None:
    rows = sent.filter(pl.col("event_time") < HOUR + timedelta(hours=1), pl.col("network") == sent["network"][0])
    query = MetricQuery("conversation_rate", filters={"network": [sent["network"][0]]})
    found = explain(platform.clickhouse, query, HOUR)
    comments, posts = (rows.filter(pl.col("type") == kind).height for kind in ("comment.created", "post.created"))
    assert found.counted == (comments, posts)
    assert found.proven
    assert found.seals.is_empty()


def test_a_restated_number_names_old_new_and_cause(platform: Any, make_events: Any, sent: pl.DataFrame) -> None:
    seal(platform)
    before = datetime.now(UTC)
    old = explain(platform.clickhouse, MetricQuery("events"), HOUR)
    platform.send(make_events(9, 25, HOUR, HOUR + timedelta(minutes=9)), at=HOUR + LATER)
    seal(platform, "late data")
    new = explain(platform.clickhouse, MetricQuery("events"), HOUR)
    assert (new.value, new.proven) == ((old.value or 0) + 25, True)
    changes = new.restatements
    assert (changes["new"] - changes["old"].fill_null(0)).sum() == 25
    assert changes["cause"].unique().to_list() == ["late data"]
    assert new.seals.filter(~pl.col("current")).height == changes["network"].n_unique()
    assert explain(platform.clickhouse, MetricQuery("events", as_of=before), HOUR).value == old.value


def test_a_lost_row_makes_the_number_unproven(platform: Any, sent: pl.DataFrame) -> None:
    seal(platform)
    one = sent.row(0, named=True)["event_id"]
    platform.clickhouse.command(
        "DELETE FROM connector_slices_builds WHERE event_id = toUUID({id:String})", parameters={"id": one},
        settings={"lightweight_deletes_sync": 2},
    )  # fmt: skip
    assert explain(platform.clickhouse, MetricQuery("events"), HOUR).proven is False


def test_groups_and_totals_are_refused(platform: Any) -> None:
    for query, word in (
        (MetricQuery("events", by=("network",)), "by"),
        (MetricQuery("events", grain="total"), "total"),
    ):
        with pytest.raises(QueryError, match=word):
            explain(platform.clickhouse, query, HOUR)
