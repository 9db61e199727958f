"""Golden payloads: each row of each network gives exactly these events, or is refused for exactly this reason."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.mapping import Context, list_mappings

GOLDEN = Path(__file__).parent / "golden"
CASES = [
    pytest.param(path.stem, number, id=f"{path.stem}-{case['name'].replace(' ', '_')}")
    for path in sorted(GOLDEN.glob("*.yaml"))
    for number, case in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))["cases"])
]


def test_every_network_has_twenty_golden_payloads(goldens: dict[str, Any]) -> None:
    assert set(goldens) == set(list_mappings())
    assert {name: len(golden.cases) >= 20 for name, golden in goldens.items()} == dict.fromkeys(goldens, True)


@pytest.mark.parametrize(("network", "number"), CASES)
def test_golden_payload(goldens: dict[str, Any], network: str, number: int) -> None:
    golden = goldens[network]
    case, batch = golden.cases[number], golden.batch
    events = [event for event, at in zip(batch.valid.to_dicts(), batch.valid_positions, strict=True) if at == number]
    rejects = [reject for reject in batch.rejected.to_dicts() if reject["place"] == f"row {number + 1} of rows.txt"]
    if "reject" in case:
        assert not events
        (reject,) = rejects
        assert (reject["reason"], reject["field"]) == (case["reject"], case.get("field", ""))
        assert case.get("detail", "") in reject["detail"]
        assert (reject["network"], reject["workspace"], reject["receipt_id"]) == (network, "demo", "receipt-1")
    else:
        assert not rejects
        assert len(events) == len(case["expect"])
        for event, expected in zip(events, case["expect"], strict=True):
            assert _seen(event, expected) == expected
    for kind in ("unknown_fields", "type_changes"):
        for name in case.get(kind, ()):
            assert getattr(batch, kind)[name] >= 1


def _seen(event: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Return of an event what the golden payload speaks of, in the form it speaks of it."""
    seen: dict[str, Any] = {}
    for name, value in expected.items():
        if name == "properties_text":
            seen[name] = event["properties"]
        elif name == "properties":
            properties = json.loads(event["properties"])
            seen[name] = {key: properties.get(key) for key in value} if value else properties
        elif isinstance(event[name], datetime):
            moment = event[name]
            seen[name] = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
        else:
            seen[name] = event[name]
    return seen


@pytest.mark.parametrize("network", list_mappings())
def test_every_row_has_one_verdict_and_raw_is_the_row(goldens: dict[str, Any], network: str) -> None:
    golden = goldens[network]
    batch = golden.batch
    assert batch.rows_read == len(golden.rows)
    assert batch.rows_read == (batch.valid.height - batch.extra_events) + batch.rejected.height
    for raw, position in zip(batch.valid["raw"], batch.valid_positions, strict=True):
        row = golden.rows[position]
        if isinstance(row, bytes):
            assert raw.encode() == row
        else:
            cells = json.loads(raw)
            assert {name: cells[name] for name in row} == {name: value or "" for name, value in row.items()}
    payloads = dict(batch.rejected.select("place", "payload").iter_rows())
    for place, payload in payloads.items():
        row = golden.rows[int(place.split()[1]) - 1]
        if isinstance(row, bytes):
            assert payload == row
        else:
            assert {name: value or "" for name, value in row.items()}.items() <= json.loads(payload).items()


@pytest.mark.parametrize("network", list_mappings())
def test_a_row_alone_gets_the_verdict_it_gets_among_others(
    goldens: dict[str, Any], network: str, context: Context
) -> None:
    golden = goldens[network]
    together = golden.batch.valid["event_id"].to_list()
    alone = []
    for number, row in enumerate(golden.rows):
        alone += golden.apply([row], replace(context, first_row=number + 1)).valid["event_id"].to_list()
    assert alone == together
