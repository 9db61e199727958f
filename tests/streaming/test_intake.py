"""Rows become messages and verdicts: every row has exactly one, whoever it is sent together with."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from contracts.event_types import QUARANTINE
from contracts.mapping import load_mapping
from resources.event_log.base import EventLogError, LogUnavailableError
from resources.event_log.limits import DEFAULT_MAX_MESSAGE_BYTES
from streaming.intake import Submission, append, prepare

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lines(*rows):
    return [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]


def submission(rows, receipt_id="r1", **fields):
    return Submission(lines(*rows), load_mapping("tally"), "demo", NOW, receipt_id, **fields)


def messages(event_log, places):
    return [value for chunk in event_log.read(places) for value in chunk.values]


def test_six_rows_six_verdicts(send, row):
    good = row()
    admission = send(
        [
            good,
            good,  # the same id again
            b"this is not JSON",
            row(type="no.such.type"),
            row(actor=None),
            row(occurred_at="1970-01-01T00:00:00Z"),
        ]
    )
    assert [verdict.status for verdict in admission.verdicts] == ["accepted", "duplicate"] + ["quarantined"] * 4
    assert [verdict.reason for verdict in admission.verdicts[2:]] == [
        "not_json",
        "unknown_type",
        "missing_field",
        "time_out_of_range",
    ]
    assert (admission.accepted, sum(admission.quarantined.values()), admission.duplicates) == (2, 4, 1)
    assert admission.rows == 6
    assert [verdict.event_id for verdict in admission.verdicts[:2]] == [good["event_id"]] * 2


def test_positions_hold_every_row(event_log, send, row):
    admission = send([row(type="ad.clicked"), row(), row(type="user.signed_in"), b"{"])
    assert {place.topic for place in admission.positions} == {"ad-events", "content-events", "user-events", QUARANTINE}
    assert len(messages(event_log, admission.positions)) == 4


def test_requests_taken_together_keep_their_own_rows(event_log, row):
    """Group commit must not mix requests up: receipts, row numbers and positions stay with their request."""
    prepared = prepare(
        [
            submission([row(actor="a"), b"broken"], "first"),
            submission([row(actor="b"), row(actor="c"), row(object=7), b"[1]"], "second"),
            Submission(lines(row(actor="d")), load_mapping("tally"), "other", NOW, "third"),
        ]
    )
    first, second, third = append(prepared, event_log)
    assert [verdict.status for verdict in first.verdicts] == ["accepted", "quarantined"]
    assert [verdict.row for verdict in second.verdicts] == [0, 1, 2, 3]
    assert [verdict.status for verdict in second.verdicts] == ["accepted"] * 3 + ["quarantined"]
    assert (third.accepted, third.events) == (1, 1)
    rejects = [json.loads(value) for value in messages(event_log, first.positions + second.positions)]
    places = {(r["receipt_id"], r["place"]) for r in rejects if "place" in r}
    assert places == {("first", "item 2 of the request"), ("second", "item 4 of the request")}
    events = [json.loads(v) for v in messages(event_log, second.positions)]
    assert {e["receipt_id"] for e in events if e.get("actor") in ("b", "c")} == {"second"}
    assert {json.loads(v)["workspace"] for v in messages(event_log, third.positions)} >= {"other"}


def test_the_same_id_in_two_requests_is_no_duplicate_within_either(row):
    same = row()
    first, second = prepare([submission([same], "a"), submission([same], "b")]).admissions
    assert (first.duplicates, second.duplicates) == (0, 0)


def test_a_row_that_would_not_fit_the_log_is_quarantined_not_fatal(event_log, send, row):
    huge = row(properties={"text": '"' * 340_000})  # under the row's limit, but escaped twice over the log's
    admission = send([row(), huge, row()])
    assert [verdict.status for verdict in admission.verdicts] == ["accepted", "quarantined", "accepted"]
    assert f"{DEFAULT_MAX_MESSAGE_BYTES:,}" in admission.verdicts[1].detail


def test_unknown_fields_are_kept_and_counted(event_log, send, row):
    sent = row(surprise={"nested": [1, 2]})
    admission = send([sent])
    assert admission.unknown_fields == {"surprise": 1}
    (value,) = messages(event_log, admission.positions)
    assert json.loads(value)["raw"] == json.dumps(sent)


def test_nothing_is_acknowledged_when_the_log_is_gone(event_log, row):
    event_log.close()
    with pytest.raises((LogUnavailableError, EventLogError)):
        append(prepare([submission([row()])]), event_log)
