"""What every raw store promises about refused rows: kept whole, found by any condition, marked, one verdict only."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resources.raw_store import PositionRange, QuarantineFilter, RawStore, RawStoreError, VerdictCounts

ANY = QuarantineFilter(status=None)


def test_a_refused_row_is_kept_as_it_came(store: RawStore, make_rejects: Any) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    store.put_quarantine(make_rejects(1, start=7, payload=b"\x00\xff not UTF-8 \xed\xa0\x80"))
    row = store.quarantine(QuarantineFilter()).row(0, named=True)
    assert row["id"] == "quarantine/0@7"
    assert (row["log_topic"], row["log_partition"], row["log_offset"]) == ("quarantine", 0, 7)
    assert row["payload"] == b"\x00\xff not UTF-8 \xed\xa0\x80"
    assert (row["status"], row["attempts"], row["note"]) == ("open", 1, "")
    assert before < row["first_seen"] == row["last_seen"] < datetime.now(UTC) + timedelta(seconds=1)
    assert row["place"] == "item 0 of the request"


def test_a_repeat_moves_only_last_seen(store: RawStore, make_rejects: Any) -> None:
    store.put_quarantine(make_rejects(2))
    first = store.quarantine(ANY)
    store.mark_quarantine(["quarantine/0@0"], "discarded", "spam")
    time.sleep(0.005)
    store.put_quarantine(make_rejects(2, reason="other"))
    again = store.quarantine(ANY)
    assert again["first_seen"].equals(first["first_seen"])
    assert (again["last_seen"] > first["last_seen"]).all()
    assert again["reason"].to_list() == ["missing_field"] * 2
    assert again["status"].to_list() == ["discarded", "open"]


def test_quarantine_is_found_by_every_condition(store: RawStore, make_rejects: Any) -> None:
    store.put_quarantine(
        make_rejects(
            4,
            reason=["bad_time", "bad_time", "missing_field", "not_json"],
            network=["app", "bluesky", "app", ""],
            workspace=["acme", "acme", "other", ""],
        )
    )

    def offsets(**conditions: Any) -> list[int]:
        return store.quarantine(QuarantineFilter(**conditions))["log_offset"].to_list()

    assert offsets() == [0, 1, 2, 3]
    assert offsets(reason="bad_time") == [0, 1]
    assert offsets(reason="bad_time", network="bluesky") == [1]
    assert offsets(workspace="") == [3]
    assert offsets(ids=["quarantine/0@2", "quarantine/0@0", "quarantine/9@9"]) == [0, 2]
    assert offsets(ids=[]) == []
    assert offsets(limit=2) == [0, 1]
    assert offsets(status="replayed") == []
    seen = store.quarantine(ANY)["first_seen"][0]
    assert offsets(since=seen) == [0, 1, 2, 3]
    assert offsets(until=seen) == []
    assert offsets(since=seen, until=seen + timedelta(milliseconds=1)) == [0, 1, 2, 3]


def test_marking_counts_rows_and_attempts(store: RawStore, make_rejects: Any) -> None:
    store.put_quarantine(make_rejects(3))
    assert store.mark_quarantine(["quarantine/0@0", "quarantine/0@1", "quarantine/0@99"], "replayed", "mapping v2") == 2
    assert store.mark_quarantine(["quarantine/0@0", "quarantine/0@0"], "replayed", "again") == 1
    rows = store.quarantine(ANY)
    assert rows["status"].to_list() == ["replayed", "replayed", "open"]
    assert rows["attempts"].to_list() == [3, 2, 1]
    assert rows["note"].to_list() == ["again", "mapping v2", ""]
    assert store.mark_quarantine([], "discarded", "") == 0


@pytest.mark.parametrize("text", ["nonsense", "topic/x@1", "topic/1@", "/1@2", "topic/1@²"])
def test_an_id_that_is_none_is_named(store: RawStore, text: str) -> None:
    with pytest.raises(RawStoreError, match="is not a quarantine id"):
        store.mark_quarantine([text], "discarded", "")


def test_counts_are_by_status_reason_and_network(store: RawStore, make_rejects: Any) -> None:
    store.put_quarantine(make_rejects(3, reason=["b", "a", "a"]))
    store.mark_quarantine(["quarantine/0@2"], "replayed", "")
    counts = store.quarantine_counts()
    assert counts.select("status", "reason", "network", "rows").rows() == [
        ("open", "a", "app", 1),
        ("open", "b", "app", 1),
        ("replayed", "a", "app", 1),
    ]
    assert counts["first_seen"].dtype == counts["last_seen"].dtype


def test_nothing_in_quarantine_is_an_empty_frame_of_the_same_shape(store: RawStore, make_rejects: Any) -> None:
    empty, none = store.quarantine(ANY), store.quarantine_counts()
    store.put_quarantine(make_rejects(0))
    store.put_quarantine(make_rejects(1))
    assert empty.schema == store.quarantine(ANY).schema
    assert none.schema == store.quarantine_counts().schema
    assert empty.is_empty()


def test_the_first_verdict_of_a_position_stands(store: RawStore, make_events: Any, make_rejects: Any) -> None:
    """A row judged again with other code (a redelivery across an upgrade) must not be counted twice."""
    topic = "content-events"
    store.put_events(make_events(["a", "a"]))
    store.put_quarantine(make_rejects(3, topic=topic, reason="poison"))
    where = PositionRange(topic, 0, 0, 5)
    assert store.verdicts([where])[where] == VerdictCounts(1, 1, 1)
    assert store.put_events(make_events(["a", "a", "b", "c"])) == VerdictCounts(2, 1, 1)
    assert store.verdicts([where])[where] == VerdictCounts(2, 1, 1)
    assert store.get_event("acme", "b") is None
    assert store.missing_offsets(where) == [4]
