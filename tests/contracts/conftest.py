"""Shared pieces: the batch context that tests use, and the golden payloads of every network."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from contracts.mapping import Context, MappedBatch, load_mapping

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"
_BESIDE = next(Path(__file__).parents[3].glob("*/data/wikipedia_edits.json.gz"), Path("no-data/file")).parent
REAL_DATA = Path(os.environ.get("TALLY_REAL_DATA", _BESIDE))


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(workspace="demo", received_at=NOW, receipt_id="receipt-1", source="rows.txt")


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("no real data beside the checkout")
    return REAL_DATA


class Golden:
    """All golden payloads of a network, mapped as one batch: a bad row must not touch its neighbours."""

    def __init__(self, network: str, context: Context) -> None:
        content = yaml.safe_load((GOLDEN / f"{network}.yaml").read_text(encoding="utf-8"))
        self.network = network
        self.cases: list[dict[str, Any]] = content["cases"]
        self.rows = [self._row(content["base"], case) for case in self.cases]
        self.batch = self.apply(self.rows, context)

    def apply(self, rows: list[Any], context: Context) -> MappedBatch:
        mapping = load_mapping(self.network)
        if mapping.spec.format == "ndjson":
            return mapping.apply(rows, context)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return mapping.apply(pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String)), context)

    def _row(self, base: dict[str, Any], case: dict[str, Any]) -> Any:
        if "line" in case:
            return case["line"].encode()
        row = {**base, **case.get("set", {}), **case.get("add", {})}
        row = {name: "x" * 1025 if value == "LONG" else value for name, value in row.items()}
        row = {name: value for name, value in row.items() if name not in case.get("drop", ())}
        return row if load_mapping(self.network).spec.format != "ndjson" else json.dumps(row).encode()


@pytest.fixture(scope="session")
def goldens(context: Context) -> dict[str, Golden]:
    return {path.stem: Golden(path.stem, context) for path in sorted(GOLDEN.glob("*.yaml"))}
