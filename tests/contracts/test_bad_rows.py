"""Broken input: each row its own verdict, none raises, none spoils its neighbours, no payload is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import EVENT_SCHEMA, REJECT_SCHEMA
from contracts.mapping import Context, MappedBatch, list_mappings, load_mapping
from contracts.rejects import MAX_REJECT_PAYLOAD_BYTES, MAX_ROW_BYTES, REASONS

CONTEXT = Context("demo", datetime(2026, 1, 1, tzinfo=UTC), "r", source="request")


def row(number: int = 0, **changes: Any) -> bytes:
    base = {"event_id": f"0198c0de-0000-7000-8000-{number:012x}", "type": "page.viewed", "actor": "ann"}
    return json.dumps({**base, "occurred_at": 1767225600000, **changes}).encode()


def verdicts(batch: MappedBatch) -> dict[int, str]:
    found = dict.fromkeys(batch.valid_positions, "valid")
    found |= {int(place.split()[1]) - 1: reason for place, reason in batch.rejected.select("place", "reason").rows()}
    return dict(sorted(found.items()))


def test_a_row_of_ten_megabytes_is_refused_and_what_is_kept_of_it_is_said() -> None:
    huge = b'{"actor":"' + b"x" * 10_000_000 + b'"}'
    batch = load_mapping("tally").apply([row(1), huge, row(2)], CONTEXT)
    assert list(verdicts(batch).values()) == ["valid", "row_too_large", "valid"]
    (refused,) = batch.rejected.to_dicts()
    assert refused["payload"] == huge[:MAX_REJECT_PAYLOAD_BYTES]
    assert "10,000,012 bytes" in refused["detail"]
    assert "first 65,536" in refused["detail"]


def test_the_largest_row_is_accepted_and_one_byte_more_is_not() -> None:
    filler = MAX_ROW_BYTES - len(row(properties={"x": ""}))
    fits, too_long = row(properties={"x": "y" * filler}), row(properties={"x": "y" * (filler + 1)})
    assert list(verdicts(load_mapping("tally").apply([fits, too_long], CONTEXT)).values()) == ["valid", "row_too_large"]


def test_an_actor_that_is_null_missing_or_empty_is_refused_and_named() -> None:
    missing = json.dumps({k: v for k, v in json.loads(row(2)).items() if k != "actor"}).encode()
    batch = load_mapping("tally").apply([row(1, actor=None), missing, row(3, actor=""), row(4)], CONTEXT)
    assert list(verdicts(batch).values()) == ["missing_field", "missing_field", "missing_field", "valid"]
    assert batch.rejected["detail"].str.starts_with("actor is ").all()


def test_a_batch_of_nothing() -> None:
    for nothing in ([], b""):
        batch = load_mapping("tally").apply(nothing, CONTEXT)
        assert (batch.rows_read, batch.valid.schema, batch.rejected.schema) == (0, EVENT_SCHEMA, REJECT_SCHEMA)


def test_a_buffer_is_cut_into_its_lines() -> None:
    buffer = b"\xef\xbb\xbf" + row(1) + b"\r\n\r\n" + row(2) + b"\nnope\n" + row(3)
    batch = load_mapping("tally").apply(buffer, CONTEXT)
    assert list(verdicts(batch).values()) == ["valid", "empty_row", "valid", "not_json", "valid"]
    assert batch.valid["raw"][0].encode() == row(1)


def test_a_row_over_several_lines_is_one_row_and_kept_as_it_came() -> None:
    pretty = json.dumps(json.loads(row(1, properties={"a": 1})), indent=2).encode()
    batch = load_mapping("tally").apply([pretty, row(2)], CONTEXT)
    assert batch.valid["raw"].to_list() == [pretty.decode(), row(2).decode()]
    broken = load_mapping("tally").apply([row(1), b'{"actor":"a\nb"}'], CONTEXT)
    assert list(verdicts(broken).values()) == ["valid", "not_json"]


def test_nesting_without_end_is_refused() -> None:
    deep = [row()[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}" for depth in (50, 2_000, 200_000)]
    assert list(verdicts(load_mapping("tally").apply([*deep, row(1)], CONTEXT)).values()) == [
        "valid",
        "too_deep",
        "too_deep",
        "valid",
    ]


def test_the_same_id_twice_in_a_batch_stays_twice_for_the_stores_to_count() -> None:
    batch = load_mapping("tally").apply([row(1), row(1)], CONTEXT)
    assert batch.valid["event_id"].to_list() == ["0198c0de-0000-7000-8000-000000000001"] * 2


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["actor", "type", "x", "time", "user", "page"]), inner, max_size=3)
    ),
    max_leaves=6,
)
BROKEN = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.builds(lambda at, by: row()[:at] + by + row()[at:], st.integers(0, 120), st.binary(max_size=3)),
    st.builds(lambda at: row()[:at], st.integers(0, 120)),
    st.sampled_from([b"null", b"[]", b"{}", b"0", b'"x"', b'{"actor":1e999}', b'{"a":"\\uDFFF"}', b"{}\n{}", b"\x00"]),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=50, deadline=None)
@given(broken=st.lists(BROKEN, min_size=1, max_size=6), name=st.sampled_from(["tally", "tally", "wikipedia", "higgs"]))
def test_no_bytes_raise_or_vanish_and_good_neighbours_stay(broken: list[bytes], name: str) -> None:
    good = {
        "tally": row(7),
        "wikipedia": b'{"time":"2015-09-12T00:46:58.771Z","channel":"#en","page":"P","user":"u","delta":1}',
        "higgs": b'{"actor":"1","target":"2","time":"1341100972","action":"RT"}',
    }[name]
    rows = [line for bad in broken for line in (good, bad)] + [good]
    batch = load_mapping(name).apply(rows, CONTEXT)
    found = verdicts(batch)
    assert list(found) == list(range(len(rows)))
    assert all(found[at] == "valid" for at in range(0, len(rows), 2))
    assert batch.rows_read == batch.valid.height - batch.extra_events + batch.rejected.height == len(rows)
    assert set(batch.rejected["reason"]) <= set(REASONS)
    refused = [rows[at] for at, verdict in found.items() if verdict != "valid"]
    assert batch.rejected["payload"].to_list() == refused
    assert batch.valid["raw"].cast(pl.Binary).to_list() == [rows[at] for at in batch.valid_positions]


def test_a_field_that_changes_its_type_mid_stream_loses_no_row() -> None:
    base = {"time": "2015-09-12T00:46:58Z", "channel": "#en", "page": "P", "user": "u"}
    values: list[Any] = [*range(500), *map(str, range(500, 900)), "many", 1.5, None, True, {"n": 1}, [2]]
    rows = [json.dumps({**base, "delta": value}).encode() for value in values]
    batch = load_mapping("wikipedia").apply(rows, CONTEXT)
    assert (batch.valid.height, batch.rejected.height) == (len(values), 0)
    assert batch.type_changes == {"delta": 400 + 1 + 1 + 3}
    kept = [json.loads(text)["delta"] for text in batch.valid["properties"]]
    assert kept == [*range(900), "many", 1.5, None, True, {"n": 1}, [2]]


@pytest.mark.parametrize("name", list_mappings())
def test_a_reason_always_says_something(name: str) -> None:
    batch = load_mapping(name).apply([b"{}", b"", b"1"], CONTEXT)
    assert batch.rejected.height == 3
    assert all(len(detail) > 10 for detail in batch.rejected["detail"])
