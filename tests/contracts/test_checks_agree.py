"""Columns and models are two writings of one contract: on any row they give the same verdict."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import Event, EventV1, explain
from contracts.event_types import EVENT_TYPES
from contracts.mapping import Context, load_mapping
from contracts.publish import schema_files

ID = "0198c0de-0000-7000-8000-00000000000a"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, 0, 5, -1, 1.5, 10**30, True, False, [], ["#A", None, 5], [True], [{}], {}, {"a": [1]}]),
    st.sampled_from(
        ["", " ", "x" * 1024, "x" * 1025, "true", "2", "3", "[1]", "{", "null", "\0", "nan", "inf", "12.5"]
    ),
    st.sampled_from([ID.upper(), "{" + ID + "}", ID.replace("-", ""), "my app", "bluesky", "post.created", "post.x"]),
    st.sampled_from(["2026", "2026-01-01", "1970-01-01T00:00:00Z", "2262-04-11T00:00:00Z", "2300-01-01", "1.76e12"]),
    st.sampled_from([1767225600000, 1767225600, "1767225600000"]),
)
GOOD = {
    "event_id": st.just(ID),
    "type": st.sampled_from(sorted(EVENT_TYPES)),
    "network": st.just("app"),
    "actor": TEXT.filter(bool),
    "object": TEXT,
    "campaign": TEXT,
    "topics": st.lists(TEXT, max_size=2),
    "properties": st.dictionaries(TEXT, TEXT, max_size=2),
    "occurred_at": st.sampled_from(["2026-01-01T00:00:00Z", 1767225600123]),
    "sdk": TEXT,
    "clock_offset_ms": st.integers(-1000, 1000),
}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Rows that are mostly right: up to two fields are odd or absent."""
    version = draw(st.sampled_from([2, 2, 1]))
    row = {"schema_version": version, **{name: draw(values) for name, values in GOOD.items()}}
    if version == 1:
        for old, new in (("user", "actor"), ("ts", "occurred_at"), ("name", "type")):
            row[old] = row.pop(new)
        del row["topics"], row["campaign"]
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=2, unique=True)):
        if draw(st.booleans()):
            row[name] = draw(ODD)
        else:
            del row[name]
    return row


@settings(max_examples=120, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=6))
def test_columns_refuse_exactly_the_rows_that_the_models_refuse(batch: list[dict[str, Any]]) -> None:
    from datetime import UTC, datetime

    lines = [json.dumps(row).encode() for row in batch]
    mapped = load_mapping("tally").apply(lines, Context("demo", datetime(2026, 1, 1, tzinfo=UTC), "r"))
    refused = {int(place.split()[1]) - 1: reason for place, reason in mapped.rejected.select("place", "reason").rows()}
    for number, row in enumerate(batch):
        model = EventV1 if row.get("schema_version") in (1, "1") else Event
        found = explain(row, model)
        if (found is None) != (number not in refused):
            raise AssertionError(f"{row}: the model says {found}, the columns say {refused.get(number)}")
        if found is not None:
            # A number that 64 bits do not hold is met before anything else that is wrong with its row.
            too_large = any(isinstance(value, int) and abs(value) >= 2**63 for value in row.values())
            assert refused[number] in {found[0], "wrong_type", *(["invalid_value"] if too_large else [])}


def test_the_published_schema_accepts_what_the_contract_accepts() -> None:
    files = {name: json.loads(text) for name, text in schema_files().items()}
    row = {"event_id": ID, "type": "post.created", "actor": "ann", "occurred_at": "2026-01-01T00:00:00Z"}
    old = {"event_id": ID, "name": "post.created", "user": "ann", "ts": 1767225600000, "schema_version": 1}
    jsonschema.validate(row, files["event.v2.json"])
    jsonschema.validate({**row, "anything": {"else": 1}}, files["event.v2.json"])
    jsonschema.validate(old, files["event.v1.json"])
    for broken in ({**row, "type": "x"}, {**row, "actor": ""}, {**row, "schema_version": 3}, old):
        assert list(jsonschema.Draft202012Validator(files["event.v2.json"]).iter_errors(broken))
