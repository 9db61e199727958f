"""Whether the log itself is wrong about a position, and what was there if it is.

Belongs here: whom to believe where log and stores disagree. Does not belong here: reading what they say
(`witnesses`), comparing a store with the truth.

A message that fits the checksum of its append is believed, unless ClickHouse and the raw store (or the archive) tell
the same other thing and nobody supports the log. A message that does not fit it, or is gone, is wrong: two stores that
agree say what it was. Where no two agree nothing is decided, and nothing may be repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import polars as pl

from contracts.envelope import POSITION_SCHEMA, STORED_SCHEMA
from contracts.event_types import QUARANTINE
from contracts.rejects import STORED_REJECT_SCHEMA
from resources.archive.ranges import joined, within
from resources.event_log.base import Condition, EventLog, MendableLog, OffsetRange, TopicPartition
from resources.raw_store.base import PositionRange
from serving.audit.archive import ArchiveState
from serving.audit.findings import POSITION, Kind, Store, finding, join_all, none, shortened, values_text
from serving.audit.places import positions_of, ranges_of
from serving.audit.stores import AuditStores, Reach
from serving.audit.truth import Truth
from serving.audit.witnesses import Place, Statement, agree, log_statements, read_statements

LOG: Store = "event log"
MESSAGES = "messages"
"""The place of the log's findings."""

Trust = Literal["intact", "unproven", "damaged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """`truth`: what the stores are to be compared with; positions nobody can decide are among its `unknown`.

    `findings`: of the log. `notes`: what is wrong with the log, but cannot be written there, while the stores agree.
    """

    truth: Truth
    findings: pl.DataFrame = field(default_factory=none)
    notes: pl.DataFrame = field(default_factory=none)


def inspect_log(log: EventLog, ranges: Sequence[PositionRange]) -> Condition:
    """What the log knows of its messages there. A log that checks them itself (Kafka) has nothing to tell."""
    return log.inspect([OffsetRange(*where) for where in ranges]) if isinstance(log, MendableLog) else Condition()


def suspects(condition: Condition, findings: pl.DataFrame) -> pl.DataFrame:
    """Positions (POSITION_SCHEMA) at which the log may be wrong: it says so, or a store says something else."""
    told = pl.DataFrame(list(condition.absent | condition.damaged), schema=POSITION_SCHEMA, orient="row")
    return pl.concat([told, positions_of(findings)]).unique().sort(POSITION)


def judge(  # noqa: PLR0917 # both sides, what is known of each, and where to look
    stores: AuditStores,
    reach: Reach,
    truth: Truth,
    condition: Condition,
    positions: pl.DataFrame,
    state: ArchiveState,
) -> Judged:
    """Ask the stores about the positions, as far as the truth about them is the log's, and correct the truth."""
    mine = positions.filter(within(truth.decoded))
    if mine.is_empty():
        return Judged(truth)
    here = (
        truth.events.join(mine, on=list(POSITION), how="semi"),
        truth.rejects.join(mine, on=list(POSITION), how="semi"),
    )
    log, stated = log_statements(*here), read_statements(stores, mine, state)
    wrong: dict[Place, Statement | None] = {}
    findings: list[pl.DataFrame] = []
    notes: list[pl.DataFrame] = []
    for place in mine.iter_rows():
        said = stated.get(place, [])
        is_lost = place in condition.absent
        trust: Trust = "damaged" if is_lost or place in condition.damaged else "intact"
        if place in condition.unproven:
            trust = "unproven"
        is_beyond = place[2] >= reach.high.get(TopicPartition(*place[:2]), 0)
        decided = _decide(log.get(place), said, trust, is_beyond=is_beyond)
        if decided is None:
            continue
        is_settled, row = decided
        wrong[place] = row
        found = _finding(place, log.get(place), row, said, is_settled=is_settled)
        can_be_written = isinstance(stores.log, MendableLog) and (row is None or _is_ours(row))
        is_note = is_settled and not is_beyond and (row is None or not can_be_written)
        (notes if is_note else findings).append(found)
    return Judged(_corrected(truth, wrong), join_all(findings), join_all(notes))


def _decide(
    log: Statement | None, said: Sequence[Statement], trust: Trust, *, is_beyond: bool
) -> tuple[bool, Statement | None] | None:
    """None where the log is right; else whether two stores agree on another row, and that row, if one has it whole."""
    support = [one for one in said if log is not None and agree(log, one)]
    dissent = [one for one in said if one not in support]
    if trust == "damaged":
        pair = _pair(said)
        return (bool(pair), _whole(pair))
    if not dissent:
        return None
    pair = _pair(dissent)
    if trust == "intact":
        # The archive is made from the raw store: without ClickHouse the two are one voice.
        if not support and any(one.witness == "ClickHouse" for one in pair):
            return True, _whole(pair)
        return (False, None) if log is None and not is_beyond else None
    if any(not agree(one, other) for one in support for other in dissent):
        return None
    return (bool(pair), _whole(pair))


def _pair(said: Sequence[Statement]) -> Sequence[Statement]:
    """Two stores that say the same, if there are; with ClickHouse rather than without."""
    pairs = [pair for pair in combinations(said, 2) if pair[0].kind == pair[1].kind and agree(*pair)]
    with_live = [pair for pair in pairs if any(one.witness == "ClickHouse" for one in pair)]
    return next(iter(with_live or pairs), ())


def _whole(pair: Sequence[Statement]) -> Statement | None:
    """The statement that has every column of an event or of a refused row."""
    return next((one for one in pair if one.witness != "ClickHouse" and one.kind != "duplicate"), None)


def _is_ours(row: Statement) -> bool:
    """Whether intake writes such messages. What it did not write, a refused row does not hold whole."""
    return row.kind == "event" or row.row["log_topic"] == QUARANTINE


def _finding(
    place: Place, log: Statement | None, row: Statement | None, said: Sequence[Statement], *, is_settled: bool
) -> pl.DataFrame:
    about = row or next(iter(said), None) or log
    fields: dict[str, object] = dict(zip(POSITION, place, strict=True))
    if about is not None:
        fields |= {name: about.row[name] for name in ("workspace", "event_id", "network") if name in about.row}
    if not is_settled:
        names = " and ".join([LOG, *(one.witness for one in said)])
        say = "disagree, and no two stores agree" if len(said) > 1 else "disagree, and there is no other witness"
        text = f"{names} {say}: left as it is" if said else "no store has a verdict: nobody can say what was there"
        kind: Kind = "missing" if log is None else "disputed"
        return finding(LOG, kind, MESSAGES, **fields, **_difference(log, next(iter(said), None), found=text))
    if log is None:
        agreeing = " and ".join(one.witness for one in said)
        return finding(LOG, "missing", MESSAGES, **fields, expected=_words(about), found=f"{agreeing} have it")
    if row is not None and log.kind == row.kind and not agree(log, row):
        return finding(LOG, "changed", MESSAGES, **fields, **_difference(log, row))
    if row is not None and log.kind != row.kind:
        words = {"columns": "message", "expected": _words(row), "found": _words(log)}
        return finding(LOG, "damaged", MESSAGES, **fields, **words)
    return finding(LOG, "damaged", MESSAGES, **fields, found="the message does not fit the checksum of its append")


def _difference(log: Statement | None, other: Statement | None, *, found: str = "") -> dict[str, object]:
    """The columns that differ, with both values; `found`: words that follow them."""
    if log is None or other is None:
        return {"found": found, "expected": _words(other) if other else ""}
    names = [name for name in log.row if name in other.row and log.row[name] != other.row[name]]
    values = values_text([log.row[name] for name in names])
    return {
        "columns": ", ".join(names),
        "expected": values_text([other.row[name] for name in names]),
        "found": f"{values} ({found})" if found else values,
    }


def _words(said: Statement | None) -> str:
    if said is None:
        return ""
    names = ("type", "actor", "object") if said.kind == "event" else ("reason", "payload", "event_id")
    return f"{said.kind}: {values_text([shortened(said.row[name]) for name in names if name in said.row])}"


def _corrected(truth: Truth, wrong: dict[Place, Statement | None]) -> Truth:
    if not wrong:
        return truth
    places = pl.DataFrame(list(wrong), schema=POSITION_SCHEMA, orient="row")
    rows = [row for row in wrong.values() if row is not None]
    events = [dict(one.row) for one in rows if one.kind == "event"]
    rejects = [dict(one.row) for one in rows if one.kind == "quarantined"]
    undecided = pl.DataFrame(
        [place for place, row in wrong.items() if row is None], schema=POSITION_SCHEMA, orient="row"
    )
    on = list(POSITION)
    return replace(
        truth,
        events=pl.concat([truth.events.join(places, on=on, how="anti"), pl.DataFrame(events, schema=STORED_SCHEMA)]),
        rejects=pl.concat(
            [truth.rejects.join(places, on=on, how="anti"), pl.DataFrame(rejects, schema=STORED_REJECT_SCHEMA)]
        ),
        unknown=joined([*truth.unknown, *ranges_of(undecided)]),
    )
