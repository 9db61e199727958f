"""The thinnest whole: rows of our SDK → events → messages → the same events."""

import json
from datetime import UTC, datetime

from contracts import wire
from contracts.mapping import Context, load_mapping

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_row_of_the_sdk_comes_back_from_the_log_as_it_was() -> None:
    row = {
        "event_id": "0198c0de-0000-7000-8000-000000000001",
        "type": "reaction.added",
        "actor": "ann",
        "object": "post-1",
        "occurred_at": "2026-01-01T00:00:00Z",
        "properties": {"n": 10**40},
    }
    batch = load_mapping("tally").apply([json.dumps(row).encode()], Context("demo", NOW, "receipt-1"))
    assert batch.rejected.is_empty()
    ((topic, (keys, values)),) = wire.encode(batch.valid).items()
    assert (topic, keys) == ("content-events", [b"demo/post-1"])
    decoded = wire.decode(values, topic, 0, [7])
    assert decoded.rejects.is_empty()
    assert decoded.events.select(batch.valid.columns).equals(batch.valid)
    assert json.loads(decoded.events["properties"][0]) == row["properties"]
