"""Real rows: every row of every data set gives its events, none is refused, ids are unique and repeatable."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from contracts import wire
from contracts.mapping import Context, load_mapping


def read(name: str, folder: Path) -> list[tuple[str, list[bytes] | pl.DataFrame]]:
    if name == "wikipedia":
        path = folder / "wikipedia_edits.json.gz"
        return [(path.name, gzip.decompress(path.read_bytes()).splitlines())]
    if name == "higgs":
        path = folder / "higgs_activity_head.txt.gz"
        cells = [line.split() for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        return [(path.name, pl.DataFrame(cells, schema=["actor", "target", "time", "action"], orient="row"))]
    patterns = {
        "ira_tweets": "ira_tweets/*.csv",
        "emoji_tweets": "mayweather_*.csv",
        "globo": "globo_*.csv",
        "talkingdata": "talkingdata_*.csv",
    }
    paths = [path for path in sorted(folder.glob(patterns[name])) if path.name != "authors.csv"]
    return [(path.name, pl.read_csv(path, infer_schema=False)) for path in paths]


@pytest.mark.parametrize(
    ("name", "rows", "events"),
    [
        ("wikipedia", 39_244, 39_244),
        ("ira_tweets", 31_586, 31_586),
        ("emoji_tweets", 12_118, 12_118),
        ("higgs", 20_000, 20_000),
        ("globo", 5_272, 5_272),
        ("talkingdata", 5_000, 5_017),
    ],
)
def test_every_real_row_is_an_event_and_travels(
    real_data: Path, context: Context, name: str, rows: int, events: int
) -> None:
    mapping = load_mapping(name)
    parts = []
    for source, data in read(name, real_data):
        given = Context(context.workspace, context.received_at, context.receipt_id, source)
        batch = mapping.apply(data, given)
        assert batch.rejected.is_empty()
        assert batch.rows_read == batch.valid.height - batch.extra_events
        assert batch.unknown_fields == {}
        assert batch.type_changes == {}
        parts.append(batch.valid)
    mapped = pl.concat(parts)
    assert mapped.height == events
    assert mapped["event_id"].n_unique() == events
    assert sum(len(data) for _, data in read(name, real_data)) == rows
    encoded = wire.encode(mapped)
    ((topic, (_, values)),) = encoded.items()
    assert topic == ("ad-events" if name == "talkingdata" else "content-events")
    decoded = wire.decode(values, topic, 0, range(len(values)))
    assert decoded.rejects.is_empty()
    assert decoded.events.select(mapped.columns).equals(mapped)
