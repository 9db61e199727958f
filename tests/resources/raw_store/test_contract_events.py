"""What every raw store promises about events: identity, verdicts by position, repeats, receipts, reading back."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resources.raw_store import (
    PositionRange,
    QuarantineFilter,
    RawStore,
    RawStoreConflictError,
    RawStoreError,
    VerdictCounts,
    open_raw_store,
)

TOPIC = "content-events"


def _all(store: RawStore, *ranges: PositionRange, chunk: int = 50_000) -> pl.DataFrame:
    return pl.concat(list(store.read_events(ranges, chunk)))


def test_events_come_back_exactly_as_they_were_stored(store: RawStore, make_events: Any) -> None:
    events = make_events(["a", "b", "c"])
    assert store.put_events(events) == VerdictCounts(3, 0, 0)
    assert_frame_equal(_all(store, PositionRange(TOPIC, 0, 0, 3)), events)
    found = store.get_event("acme", "b")
    assert found == events.row(1, named=True)
    assert found is not None
    assert found["event_time"] == datetime(2024, 5, 1, 12, 0, 0, 1000, tzinfo=UTC)
    assert store.get_event("acme", "nobody") is None


@pytest.mark.parametrize(
    "text",
    [
        "\x00 in the middle \x00",
        "\U0001f469\u200d\U0001f52c e\u0301 \u202e",
        "x" * 3_000_000,
        "'; DROP TABLE events; --",
        "\ufffd\uffff",
        "",
    ],
    ids=["NUL", "emoji", "3MB", "quotes", "noncharacters", "empty"],
)
def test_any_text_survives_byte_for_byte(store: RawStore, make_events: Any, text: str) -> None:
    events = make_events(["a"], raw=text, actor=text[:100], topics=[[text[:100], "b"]])
    store.put_events(events)
    assert_frame_equal(_all(store, PositionRange(TOPIC, 0, 0, 1)), events)


@pytest.mark.parametrize(
    "properties",
    [
        '{"a.b":1,"$set":{"$x":1}}',
        '{"nul\\u0000key":1}',
        '{"huge":123456789012345678901234567890,"u64":18446744073709551615}',
        '{"one":1.0,"exp":1e5,"minus":-0.0,"i64":9223372036854775807}',
        '{ "spaced" : true }',
        '{"a":1,"a":2}',
        '{"":1,"_id":2}',
        '{"lone":"\\ud800"}',
        '{"deep":' + "[" * 150 + "]" * 150 + "}",
        "not JSON at all",
        '{"list":[1,null,{"x":[]}],"text":"\\u0000é"}',
        "{}",
    ],
)
def test_properties_are_never_reshaped(store: RawStore, make_events: Any, properties: str) -> None:
    store.put_events(make_events(["a"], properties=properties))
    found = store.get_event("acme", "a")
    assert found is not None
    assert found["properties"] == properties


def test_rows_of_ten_megabytes_are_kept_whole(store: RawStore, make_events: Any, make_rejects: Any) -> None:
    long = "é\x00" * 3_500_000
    properties = '{"text":"' + "x" * 10_000_000 + '"}'
    events = make_events(["a", "b"], raw=[long, "short"], properties=properties, actor="y" * 2_000_000)
    assert store.put_events(events) == VerdictCounts(2, 0, 0)
    assert store.put_events(events) == VerdictCounts(2, 0, 0)
    assert store.put_events(make_events(["a"], start=2, raw="other" * 400_000)) == VerdictCounts(0, 1, 0)
    assert_frame_equal(_all(store, PositionRange(TOPIC, 0, 0, 3)), events)
    store.put_quarantine(make_rejects(1, payload=b"\xff" * 20_000_000, detail="z" * 2_000_000))
    rejected = store.quarantine(QuarantineFilter()).row(0, named=True)
    assert (len(rejected["payload"]), len(rejected["detail"])) == (20_000_000, 2_000_000)


def test_times_at_the_ends_of_the_calendar_survive(store: RawStore, make_events: Any) -> None:
    times = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ]
    events = make_events(["a", "b", "c"], occurred_at=times)
    store.put_events(events)
    assert_frame_equal(_all(store, PositionRange(TOPIC, 0, 0, 3)), events)


def test_writing_a_batch_again_changes_nothing(store: RawStore, make_events: Any) -> None:
    events = make_events(["a", "b", "a", "c"])
    first = store.put_events(events)
    assert first == VerdictCounts(3, 1, 0)
    assert store.put_events(events) == first
    assert store.verdicts([PositionRange(TOPIC, 0, 0, 4)])[PositionRange(TOPIC, 0, 0, 4)] == first


def test_the_first_writer_wins_and_later_ones_are_duplicates(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a", "b"], raw="first"))
    assert store.put_events(make_events(["b", "c"], start=2, raw="second")) == VerdictCounts(1, 1, 0)
    found = store.get_event("acme", "b")
    assert found is not None
    assert (found["raw"], found["log_offset"]) == ("first", 1)


def test_within_a_batch_the_lowest_position_is_the_first(store: RawStore, make_events: Any) -> None:
    events = make_events(["a", "a", "a"], start=10, raw=["at 10", "at 11", "at 12"])
    assert store.put_events(events.reverse()) == VerdictCounts(1, 2, 0)
    found = store.get_event("acme", "a")
    assert found is not None
    assert found["raw"] == "at 10"


def test_a_batch_cut_differently_after_a_crash_gets_the_same_verdicts(store: RawStore, make_events: Any) -> None:
    events = make_events(["a", "b", "a", "c", "b", "d"])
    store.put_events(events[:4])
    assert store.put_events(events[2:]) == VerdictCounts(2, 2, 0)
    where = PositionRange(TOPIC, 0, 0, 6)
    assert store.verdicts([where])[where] == VerdictCounts(4, 2, 0)


def test_two_tenants_may_use_the_same_id(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a"]))
    assert store.put_events(make_events(["a"], start=1, workspace="other")) == VerdictCounts(1, 0, 0)


def test_one_row_given_twice_in_a_call_is_one_row(store: RawStore, make_events: Any) -> None:
    events = make_events(["a", "b"])
    assert store.put_events(pl.concat([events, events])) == VerdictCounts(4, 0, 0)
    where = PositionRange(TOPIC, 0, 0, 2)
    assert store.verdicts([where])[where] == VerdictCounts(2, 0, 0)


def test_an_empty_batch_is_nothing(store: RawStore, make_events: Any) -> None:
    assert store.put_events(make_events([])) == VerdictCounts(0, 0, 0)


def test_a_recreated_log_is_noticed_not_merged(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a", "b", "a"]))
    with pytest.raises(RawStoreConflictError, match=rf"{TOPIC}/0@1 holds event acme/b and cannot also be acme/z"):
        store.put_events(make_events(["y", "z"], start=0)[1:])
    with pytest.raises(RawStoreError, match=rf"{TOPIC}/0@2 holds event acme/a and cannot also be acme/z"):
        store.put_events(make_events(["z"], start=2))
    with pytest.raises(RawStoreConflictError, match=rf"{TOPIC}/0@0 holds event acme/a and cannot also be acme/b"):
        store.put_events(make_events(["b"], start=0))
    assert store.get_event("acme", "z") is None
    where = PositionRange(TOPIC, 0, 0, 3)
    assert store.verdicts([where])[where] == VerdictCounts(2, 1, 0)


def test_one_position_cannot_be_two_events(store: RawStore, make_events: Any) -> None:
    both = pl.concat([make_events(["a"]), make_events(["b"])])
    with pytest.raises(RawStoreError, match=rf"{TOPIC}/0@0 holds event acme/a and cannot also be acme/b"):
        store.put_events(both)


def test_a_frame_of_another_shape_is_refused_by_column(store: RawStore, make_events: Any) -> None:
    with pytest.raises(RawStoreError, match="actor is missing, not String"):
        store.put_events(make_events(["a"]).drop("actor"))
    with pytest.raises(RawStoreError, match="null in campaign"):
        store.put_events(make_events(["a"], campaign=[None]))


def test_verdicts_are_counted_by_range_and_partition(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a", "b", "c", "a"], partition=0))
    store.put_events(make_events(["d", "a"], partition=1))
    store.put_events(make_events(["e"], topic="user-events"))
    ranges = [
        PositionRange(TOPIC, 0, 0, 4),
        PositionRange(TOPIC, 0, 2, 4),
        PositionRange(TOPIC, 1, 0, 2),
        PositionRange("user-events", 0, 0, 100),
        PositionRange("ad-events", 0, 0, 100),
    ]
    assert list(store.verdicts(ranges).items()) == [
        (ranges[0], VerdictCounts(3, 1, 0)),
        (ranges[1], VerdictCounts(1, 1, 0)),
        (ranges[2], VerdictCounts(1, 1, 0)),
        (ranges[3], VerdictCounts(1, 0, 0)),
        (ranges[4], VerdictCounts(0, 0, 0)),
    ]


def test_every_planted_hole_is_found_and_nothing_else(store: RawStore, make_events: Any, make_rejects: Any) -> None:
    random.seed(7)
    planted = sorted(random.sample(range(100, 20_000), 7))
    batch = make_events([f"id-{n % 19_000}" for n in range(20_000)])
    batch = batch.filter(~pl.col("log_offset").is_in([*planted, 50, 51]))
    store.put_events(batch)
    store.put_quarantine(make_rejects(2, start=50, topic=TOPIC))
    assert store.missing_offsets(PositionRange(TOPIC, 0, 0, 20_000)) == planted
    assert store.missing_offsets(PositionRange(TOPIC, 0, 0, 20_000), limit=3) == planted[:3]
    assert store.missing_offsets(PositionRange(TOPIC, 0, 19_999, 20_003)) == [20_000, 20_001, 20_002]
    assert store.missing_offsets(PositionRange(TOPIC, 0, 5, 5)) == []


def test_a_range_of_a_hundred_million_without_rows_answers_at_once(store: RawStore) -> None:
    assert store.missing_offsets(PositionRange(TOPIC, 0, 7, 100_000_000), limit=5) == [7, 8, 9, 10, 11]


def test_reading_goes_by_range_and_chunk_and_skips_duplicates(store: RawStore, make_events: Any) -> None:
    store.put_events(make_events(["a", "b", "a", "c", "d"], partition=0))
    store.put_events(make_events(["e", "f"], partition=1))
    ranges = [PositionRange(TOPIC, 1, 0, 9), PositionRange(TOPIC, 0, 1, 5)]
    frames = list(store.read_events(ranges, chunk=2))
    assert [frame["event_id"].to_list() for frame in frames] == [["e", "f"], ["b", "c"], ["d"]]
    assert list(store.read_events([PositionRange(TOPIC, 2, 0, 9)])) == []


def test_a_receipt_accounts_for_every_row_of_its_request(store: RawStore, make_events: Any, make_rejects: Any) -> None:
    store.put_events(make_events(["a", "b", "a"], receipt_id="r1"))
    store.put_events(make_events(["b"], start=3, receipt_id="r2"))
    store.put_quarantine(make_rejects(3, receipt_id="r1", reason=["bad_time", "missing_field", "bad_time"]))
    assert store.receipt("r1") == {
        "stored": 2,
        "duplicate": 1,
        "quarantined": 3,
        "reasons": {"bad_time": 2, "missing_field": 1},
    }
    assert store.receipt("r2") == {"stored": 0, "duplicate": 1, "quarantined": 0, "reasons": {}}
    assert store.receipt("nobody's") == {"stored": 0, "duplicate": 0, "quarantined": 0, "reasons": {}}
    rows = store.receipt_rows("r1")
    assert sorted(rows["verdict"]) == ["duplicate", *["quarantined"] * 3, *["stored"] * 2]
    assert set(rows.filter(rows["verdict"] != "quarantined")["event_id"]) == {"a", "b"}
    assert rows.filter(rows["verdict"] == "quarantined")["reason"].sort().to_list()[0] == "bad_time"
    assert store.receipt_rows("r1", limit=2).rows() == rows.rows()[:2]
    assert store.receipt_rows("nobody's").is_empty()


def test_writers_racing_for_the_same_ids_leave_one_event_each(
    store_url: str, store: RawStore, make_events: Any
) -> None:
    """Eight threads offer the same 200 ids, each at positions of its own: 200 stored, the rest duplicates."""
    ids = [f"id-{n}" for n in range(200)]
    counts: list[VerdictCounts] = []
    failures: list[BaseException] = []

    def work(partition: int) -> None:
        try:
            own = open_raw_store(store_url) if partition % 2 else store
            counts.append(own.put_events(make_events(ids, partition=partition)))
            if own is not store:
                own.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(c.stored for c in counts) == 200
    assert sum(c.duplicate for c in counts) == 1400
    ranges = [PositionRange(TOPIC, n, 0, 200) for n in range(8)]
    assert sum(c.stored for c in store.verdicts(ranges).values()) == 200
    assert all(c.total == 200 for c in store.verdicts(ranges).values())


def test_a_url_that_names_no_store_is_refused() -> None:
    with pytest.raises(RawStoreError, match="'redis'"):
        open_raw_store("redis://localhost/0")
    with pytest.raises(RawStoreError, match="names no file"):
        open_raw_store("sqlite://")
