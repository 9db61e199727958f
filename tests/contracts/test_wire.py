"""Messages: what is encoded comes back equal; what is none of ours is refused by place, alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import wire
from contracts.envelope import EVENT_SCHEMA, REJECT_SCHEMA, STORED_SCHEMA
from contracts.event_types import EVENT_TYPES
from contracts.rejects import STORED_REJECT_SCHEMA

AT = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = st.text(max_size=30) | st.sampled_from(
    ["a\0b", "\u2028", "\\ud800", '"', "\\", "\n\r\t", "😀", "9" * 60, "\x7f"]
)
MOMENT = st.datetimes(datetime(1995, 1, 1), datetime(2290, 1, 1)).map(  # noqa: DTZ001 - hypothesis wants naive bounds
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
PROPERTIES = st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=3).map(json.dumps)
EVENT = st.fixed_dictionaries(
    {
        **{name: TEXT for name, dtype in EVENT_SCHEMA.items() if dtype == pl.String},
        "type": st.sampled_from(sorted(EVENT_TYPES)),
        "topics": st.lists(TEXT, max_size=3),
        "properties": PROPERTIES,
        **dict.fromkeys(("occurred_at", "received_at", "event_time"), MOMENT),
        "schema_version": st.just(2),
    }
)


def message(**changes: Any) -> bytes:
    ((_, (value,)),) = wire.encode(pl.DataFrame([EVENT_ROW], schema=EVENT_SCHEMA)).values()
    content = {**json.loads(value), **changes}
    return json.dumps({name: value for name, value in content.items() if value is not ...}).encode()


EVENT_ROW = {
    **{name: f"a {name}" for name, dtype in EVENT_SCHEMA.items() if dtype == pl.String},
    "type": "post.created",
    "topics": ["x"],
    "properties": "{}",
    **dict.fromkeys(("occurred_at", "received_at", "event_time"), AT),
    "schema_version": 2,
}


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=8))
def test_every_event_decodes_to_the_row_that_was_encoded(rows: list[dict[str, Any]]) -> None:
    events = pl.DataFrame(rows, schema=EVENT_SCHEMA)
    for topic, (keys, values) in wire.encode(events).items():
        offsets = [3 * at + 1 for at in range(len(values))]
        decoded = wire.decode(values, topic, 2, offsets)
        expected = events.filter(pl.col("type").replace_strict({n: t.topic for n, t in EVENT_TYPES.items()}) == topic)
        assert decoded.rejects.is_empty()
        assert decoded.events.schema == STORED_SCHEMA
        assert decoded.events.select(list(EVENT_SCHEMA)).equals(expected)
        assert decoded.events["log_offset"].to_list() == offsets
        assert set(decoded.events["log_partition"]) == {2}
        assert len(keys) == len(values)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (None, "tombstone", "no value"),
        (b"", "empty_row", "empty"),
        (b"\xff\xfe", "invalid_utf8", "0xff"),
        (b"{'a': 1}", "not_json", "{'a': 1}"),
        (b'{"actor":"\\ud800"}', "invalid_unicode", "surrogate"),
        (b"[1]", "foreign_message", "[1]"),
        (b"17", "foreign_message", "17"),
        (b'{"hello":"world"}', "foreign_message", "schema_version is None"),
        (b'{"schema_version":"two"}', "foreign_message", "two"),
        (b'{"schema_version":true}', "foreign_message", "True"),
        (message(schema_version=3), "unsupported_schema_version", "version 3; this release reads 1 and 2"),
        (message(schema_version=0), "unsupported_schema_version", "version 0"),
        (message(type="post.exploded"), "unknown_type", "post.exploded"),
        (message(type="ad.clicked"), "wrong_topic", "ad-events"),
        (message(type=...), "foreign_message", "missing"),
        (message(actor=None), "foreign_message", "missing"),
        (message(occurred_at="2026"), "foreign_message", "another type"),
        (message(event_time=-1), "foreign_message", "another type"),
        (message(topics="x"), "foreign_message", "another type"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "too_deep", "deep"),
    ],
)
def test_a_message_that_is_none_of_ours_is_refused_by_place_and_its_neighbours_are_not(
    value: bytes | None, reason: str, detail: str
) -> None:
    decoded = wire.decode([message(), value, message()], "content-events", 3, [10, 11, 14], timestamps=[5, 6, 7])
    assert decoded.events["log_offset"].to_list() == [10, 14]
    assert decoded.rejects.schema == STORED_REJECT_SCHEMA
    (refused,) = decoded.rejects.to_dicts()
    assert refused["reason"] == reason
    assert detail in refused["detail"]
    assert refused["place"] == "content-events/3@11"
    assert refused["payload"] == (value or b"")
    assert (refused["log_topic"], refused["log_partition"], refused["log_offset"]) == ("content-events", 3, 11)
    assert refused["received_at"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=6)


def test_messages_of_the_version_before_are_read_as_this_one() -> None:
    old = message(schema_version=1, user="bob", ts=1_767_225_600_000, name="post.edited", actor=..., occurred_at=...,
                  type=..., topics=..., campaign=..., time_flag=...)  # fmt: skip
    decoded = wire.decode([message(), old], "content-events", 0, [0, 1])
    assert decoded.rejects.is_empty()
    row = decoded.events.row(1, named=True)
    assert (row["actor"], row["type"], row["occurred_at"], row["schema_version"]) == ("bob", "post.edited", AT, 2)
    assert (row["topics"], row["campaign"], row["time_flag"]) == ([], "", "ok")


def test_no_messages_and_unequal_lengths() -> None:
    decoded = wire.decode([], "ad-events", 0, [])
    assert (decoded.events.height, decoded.rejects.height) == (0, 0)
    assert decoded.events.schema == STORED_SCHEMA
    with pytest.raises(ValueError, match="2 offsets of ad-events/1"):
        wire.decode([b""], "ad-events", 1, [1, 2])


REJECT = st.fixed_dictionaries(
    {
        **{name: TEXT for name, dtype in REJECT_SCHEMA.items() if dtype == pl.String},
        "received_at": MOMENT,
        "payload": st.binary(max_size=40) | TEXT.map(lambda text: text.encode()),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REJECT, max_size=6))
def test_every_reject_decodes_to_the_row_that_was_encoded(rows: list[dict[str, Any]]) -> None:
    rejects = pl.DataFrame(rows, schema=REJECT_SCHEMA)
    keys, values = wire.encode_rejects(rejects)
    decoded = wire.decode_rejects(values, 1, [5 + at for at in range(len(values))])
    assert decoded.schema == STORED_REJECT_SCHEMA
    assert decoded.select(list(REJECT_SCHEMA)).equals(rejects)
    assert keys == [f"{row['workspace']}/{row['receipt_id']}".encode() for row in rows]


def test_a_reject_s_message_stays_near_the_size_of_its_payload() -> None:
    payloads = [b"\0" * 900_000, b'"' * 900_000, b"\xff" * 900_000, b"x" * 900_000, b"y" * (1024 * 1024 + 1)]
    rows = [dict.fromkeys(REJECT_SCHEMA, "x") | {"received_at": AT, "payload": payload} for payload in payloads]
    _, values = wire.encode_rejects(pl.DataFrame(rows, REJECT_SCHEMA))
    assert max(map(len, values)) < 1_300_000
    assert wire.decode_rejects(values, 0, range(5))["payload"].to_list()[:4] == payloads[:4]


def test_foreign_messages_in_quarantine_are_rejects_themselves() -> None:
    rejects = pl.DataFrame([dict.fromkeys(REJECT_SCHEMA, "x") | {"received_at": AT, "payload": b"\xff"}], REJECT_SCHEMA)
    _, (ours,) = wire.encode_rejects(rejects)
    broken = json.dumps({**json.loads(ours), "payload_base64": "%%%"}).encode()
    decoded = wire.decode_rejects([ours, b"{}", None, b"nope", broken], 0, [1, 2, 3, 4, 5])
    assert decoded["reason"].to_list() == ["x", "foreign_message", "tombstone", "not_json", "foreign_message"]
    assert decoded["log_offset"].to_list() == [1, 2, 3, 4, 5]
    assert decoded["place"].to_list()[1:] == [f"quarantine/0@{at}" for at in (2, 3, 4, 5)]
    assert decoded["payload"][0] == b"\xff"
