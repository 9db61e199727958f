"""Mapping files: what they can say, and errors that name the file and the key."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contracts.mapping import Context, MappingError, list_mappings, load_mapping

CONTEXT = Context("demo", datetime(2026, 1, 1, tzinfo=UTC), "r", source="feed.ndjson")
GOOD = """
format: ndjson
network: bluesky
identity: {columns: [did, commit.rev]}
time: {column: time_us, format: epoch_us}
actor: did
object: {join: [did, commit.rkey], separator: "/"}
topics: {hashtags_in: commit.record.text}
properties: {rest: true}
events:
  - name: post
    type: post.created
    when: {column: commit.collection, equals: app.bsky.feed.post}
  - name: like
    type: reaction.added
    when: {column: commit.collection, any_of: [app.bsky.feed.like]}
    object: commit.record.subject.uri
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_there_is_a_mapping_for_each_source_and_our_sdk() -> None:
    names = ["emoji_tweets", "globo", "higgs", "ira_tweets", "talkingdata", "tally", "wikipedia"]
    assert list_mappings() == names
    for name in names:
        assert load_mapping(name).label == f"mapping/{name}@1"
    with pytest.raises(MappingError, match=r"'myspace'.*wikipedia.*\.yaml"):
        load_mapping("myspace")


def test_json_paths_conditions_and_all_the_rest(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path / "jets.yaml", GOOD))
    base = {"did": "did:1", "time_us": 1767225600000001, "kind": "commit"}
    record = {"text": "hi #There", "langs": ["en"]}
    post = {"rev": "a", "rkey": "k", "collection": "app.bsky.feed.post", "record": record}
    like = {"rev": "b", "collection": "app.bsky.feed.like", "record": {"subject": {"uri": "at://x"}}}
    other = {**post, "collection": "app.bsky.graph.block"}
    rows = [json.dumps({**base, "commit": commit}).encode() for commit in (post, like, other)]
    batch = mapping.apply(rows, CONTEXT)
    assert batch.valid.select("type", "network", "actor", "object", "topics").rows() == [
        ("post.created", "bluesky", "did:1", "did:1/k", ["there"]),
        ("reaction.added", "bluesky", "did:1", "at://x", []),
    ]
    assert json.loads(batch.valid["properties"][0]) == {"kind": "commit"}
    assert batch.rejected["reason"].to_list() == ["no_event"]
    assert batch.unknown_fields == {}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("actor: did", "", "actor: Field required"),
        ("actor: did", "actor: did\nactr: x", "actr: no such key; did you mean actor. .*, clock_offset_ms"),
        (
            "format: epoch_us",
            "format: iso8601, zon: UTC",
            "time.zon: no such key; did you mean zone. The keys here are",
        ),
        ("format: epoch_us", "format: iso8601, zone: Asia/Kolkatta", "time.zone: .*did you mean Asia/Kolkata"),
        ("format: epoch_us", "format: epoch_us, zone: Asia/Kolkata", "time: zone: format epoch_us counts"),
        ("name: like", "name: like\n    wen: a", "events.1.wen: no such key; did you mean when"),
        ("format: epoch_us", "format: epoch_days", "time.format"),
        ("type: post.created", "type: post.exploded", "events.0: .*post.exploded"),
        ("{columns: [did, commit.rev]}", "{columns: [did], uuid: did}", "identity: .*exactly one"),
        ("{rest: true}", "{rest: true, columns: {a: int}}", "properties: .*at most one"),
        ("{rest: true}", "{columns: {a: integer}}", "properties.columns.a"),
        ("name: like", "name: post", "events.1.name: 'post' is the name of events.0 too; "),
        ("format: ndjson", "format: csv\ncolumns: [a]", "columns: names those of format text"),
        ("format: ndjson", "format: xml", "format: "),
        ("network: bluesky", "network: {constant: a, column: b}", "network: .*exactly one"),
        ("format: ndjson", "format: [ndjson", "is not YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    path = write(tmp_path / "jets.yaml", GOOD.replace(old, new))
    with pytest.raises(MappingError, match=rf"(?s)jets\.yaml: .*{named}"):
        load_mapping(path)


def test_a_missing_file_and_a_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_mapping(tmp_path / "nowhere.yaml")
    with pytest.raises(MappingError, match=r"list\.yaml: is not a YAML mapping"):
        load_mapping(write(tmp_path / "list.yaml", "[1]"))


def test_events_without_a_name_are_named_by_their_place(tmp_path: Path) -> None:
    text = re.sub(r"- name: \w+\n   ", "-", GOOD)
    with pytest.raises(
        MappingError, match=r"jets\.yaml: events\.1\.name: 'event' is the name of events\.0 too \(the one"
    ):
        load_mapping(write(tmp_path / "jets.yaml", text))


def test_a_table_without_the_mapping_s_columns_is_refused_at_once() -> None:
    with pytest.raises(
        MappingError, match=r"higgs, feed\.ndjson: no column action, actor, target, time; the data has a, b"
    ):
        load_mapping("higgs").apply(pl.DataFrame({"a": ["1"], "b": ["2"]}), CONTEXT)


def test_columns_of_a_table_may_come_as_numbers_in_any_order() -> None:
    table = pl.DataFrame({"action": ["RT"], "time": [1341100972], "target": [2], "actor": [1]})
    batch = load_mapping("higgs").apply(table, CONTEXT)
    assert batch.valid.select("actor", "object").rows() == [("1", "2")]


def test_a_derived_id_is_of_the_row_not_of_its_surroundings() -> None:
    rows = pl.DataFrame({"actor": ["1", "1"], "target": ["2", "2"], "time": ["1341100972"] * 2, "action": ["RT", "MT"]})
    whole = load_mapping("higgs").apply(rows, CONTEXT).valid["event_id"]
    later = load_mapping("higgs").apply(rows[1:], Context("other", datetime(2027, 1, 1, tzinfo=UTC), "s", "b.txt", 9))
    assert whole[0] != whole[1] == later.valid["event_id"][0]


def test_the_place_in_a_file_is_identity_where_the_mapping_says_so() -> None:
    rows = pl.DataFrame({name: ["1"] * 2 for name in ("ip", "app", "device", "os", "channel", "is_attributed")})
    rows = rows.with_columns(click_time=pl.lit("2017-11-07 9:30"), attributed_time=pl.lit("2017-11-07 9:31"))

    def ids(source: str, rows: pl.DataFrame = rows, **context: object) -> list[str]:
        given = Context("demo", CONTEXT.received_at, "r", source, **context)  # type: ignore[arg-type] # names vary
        return load_mapping("talkingdata").apply(rows, given).valid["event_id"].to_list()

    first = ids("a/clicks.csv")
    assert len(set(first)) == 4
    assert first == ids("b/clicks.csv.gz")
    assert not set(first) & set(ids("a/other.csv"))
    assert first[2:] == ids("clicks.csv", rows[1:], first_row=2) == ids("clicks.csv", rows[1:], row_numbers=[2])


def test_a_table_s_row_replayed_as_the_json_of_its_cells_gives_the_same_event() -> None:
    cells = {"user_id": "7", "session_id": "1", "click_article_id": "9", "click_timestamp": "1506862455855"}
    codes = ("environment", "deviceGroup", "os", "country", "region", "referrer_type")
    row = {**cells, "session_start": "", "session_size": "3", **{f"click_{code}": "1" for code in codes}}
    mapping = load_mapping("globo")
    table = mapping.apply(pl.DataFrame([{name: value or None for name, value in row.items()}]), CONTEXT)
    replayed = mapping.apply([table.valid["raw"][0].encode()], CONTEXT)
    assert replayed.valid.equals(table.valid)
    assert (replayed.type_changes, replayed.unknown_fields) == ({}, {})


@pytest.mark.parametrize("identity", ["{columns: [id]}", "{uuid: id}"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_local_times_are_read_in_the_mapping_s_zone(tmp_path: Path, identity: str, form: str) -> None:
    text = f"""
    format: {form}
    identity: {identity}
    time: {{column: at, format: ["%d.%m.%y %I:%M %p"], zone: Europe/Berlin}}
    actor: who
    events: [{{type: post.created}}]
    """
    ids = [f"0190a1b2-0000-7000-8000-00000000000{number}" for number in range(2)]
    rows = pl.DataFrame({"id": ids, "at": ["01.07.26 09:15 PM", "29.03.26 02:30 AM"], "who": ["ann", "bob"]})
    context = Context(workspace="demo", received_at=datetime(2026, 8, 1, tzinfo=UTC), receipt_id="r", source="f")
    mapping = load_mapping(write(tmp_path / "local.yaml", text))
    mapped = mapping.apply(rows if form == "csv" else [json.dumps(row).encode() for row in rows.to_dicts()], context)
    assert mapped.valid["event_time"].to_list() == [datetime(2026, 7, 1, 19, 15, tzinfo=UTC)]
    assert mapped.rejected["reason"].to_list() == ["invalid_time"]
    assert "29.03.26 02:30 AM" in mapped.rejected["detail"][0]
    assert "Europe/Berlin" in mapped.rejected["detail"][0]
