"""The way out of quarantine: refused rows go through intake again, with the mapping as it is now.

Belongs here: replaying rows by filter. Does not belong here: storing or listing them (`resources.raw_store`), the
checks (`contracts`).

A replayed row keeps the receipt, the time of receipt and the place it first came with, so the event is the one it would
have been: the same id, the same event time. Replaying twice therefore changes nothing but the count of duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from contracts import wire
from contracts.batch import Context
from contracts.mapping import Mapping, MappingError, load_mapping
from contracts.rejects import parse_place
from resources.crashpoints import crashpoint
from resources.event_log.base import EventLog
from resources.raw_store.base import QuarantineFilter, RawStore


@dataclass(slots=True)
class ReplayReport:
    """What a replay did, or with `dry_run` would do: `matched = accepted + sum of refused + sum of stuck`.

    `refused`: rows that the current mapping still refuses, by reason; they stay open. `stuck`: rows that cannot be
    mapped at all, by cause; `unmapped` are the networks of those for which no mapping was given or is there. `events`:
    events appended (a row may give several).
    """

    dry_run: bool
    matched: int = 0
    accepted: int = 0
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    stuck: Counter[str] = field(default_factory=Counter)
    unmapped: list[str] = field(default_factory=list)


def replay_quarantine(
    log: EventLog, store: RawStore, where: QuarantineFilter, *, mapping: Mapping | None = None, dry_run: bool = False
) -> ReplayReport:
    """Send the matching rows through the current mapping of their network (or through `mapping`) into the event log.

    Rows that are accepted now are appended first and marked `replayed` second: a crash between the two makes the next
    replay append them again, and the stores count those as duplicates. Raises LogUnavailableError and
    RawStoreUnavailableError; what was not appended stays open.
    """
    rows = store.quarantine(where)
    report = ReplayReport(dry_run=dry_run, matched=rows.height)
    for group in _groups(rows):
        _replay_group(group, log, store, mapping, report)
    return report


def _groups(rows: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Rows that one call of a mapping can take: of one network, sender, receipt and file."""
    source = pl.col("place").map_elements(_source, return_dtype=pl.String).alias("source")
    keys = ["network", "workspace", "receipt_id", "received_at", "source"]
    return rows.with_columns(source).partition_by(keys, maintain_order=True)


def _source(place: str) -> str:
    parsed = parse_place(place)
    return parsed[0] if parsed else ""


def _replay_group(
    group: pl.DataFrame, log: EventLog, store: RawStore, mapping: Mapping | None, report: ReplayReport
) -> None:
    first: dict[str, Any] = group.row(0, named=True)
    if not first["source"]:
        report.stuck["a message of the log that no mapping made"] += group.height
        return
    try:
        chosen = mapping or load_mapping(first["network"])
    except MappingError:
        report.stuck[f"no mapping {first['network']!r}; give one with --mapping"] += group.height
        if first["network"] not in report.unmapped:
            report.unmapped.append(first["network"])
        return
    group, payloads = _payloads(group, chosen, report)
    if group.is_empty():
        return
    places = [parse_place(place) for place in group["place"]]
    numbers = [place[1] for place in places if place]
    context = Context(
        workspace=first["workspace"],
        received_at=first["received_at"],
        receipt_id=first["receipt_id"],
        source=first["source"],
        row_numbers=numbers,
    )
    try:
        mapped = chosen.apply(payloads, context)
    except MappingError as error:
        report.stuck[str(error)] += group.height
        return
    refused = {row for place in mapped.rejected["place"] if (parsed := parse_place(place)) for row in parsed[1:]}
    passed = [identity for identity, number in zip(group["id"], numbers, strict=True) if number not in refused]
    report.refused.update(mapped.rejected["reason"].to_list())
    report.accepted += len(passed)
    report.events += mapped.valid.height
    if report.dry_run or not passed:
        return
    for topic, (keys, values) in wire.encode(mapped.valid).items():
        log.append(topic, keys, values)
    crashpoint("quarantine.after_append")
    store.mark_quarantine(passed, "replayed", f"accepted by {chosen.label}")
    crashpoint("quarantine.after_mark")


def _payloads(
    group: pl.DataFrame, mapping: Mapping, report: ReplayReport
) -> tuple[pl.DataFrame, list[bytes] | pl.DataFrame]:
    """Return the rows that can be offered, in the form the mapping takes: JSON, or a table of cells."""
    payloads: list[bytes] = group["payload"].to_list()
    if mapping.spec.format == "ndjson":
        return group, payloads
    cells: list[dict[str, Any] | None] = [_cells(payload) for payload in payloads]
    broken = pl.Series([row is None for row in cells])
    report.stuck["its cells were not kept as a JSON object"] += int(broken.sum())
    kept = [row for row in cells if row is not None]
    return group.filter(~broken), pl.DataFrame(kept, infer_schema_length=None)


def _cells(payload: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
