"""The collector's answers as JSON.

Belongs here: their shapes. Does not belong here: deciding which one (`app`).
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from resources.raw_store.base import position_id
from streaming.collector.body import RefusedRequestError
from streaming.collector.receipts import Receipt
from streaming.intake import Admission, Verdict

ALL_VERDICTS_UP_TO = 1_000
_CHOICES = ("", "all", "errors", "none")


def json_answer(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def error(status: int, code: str, message: str, retry_after: int | None = None) -> Response:
    """`{"error": code, "message": sentence}`; 401 and "try later" carry their headers."""
    headers = {}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tally"'
    text = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return json_answer(status, {"error": code, "message": text}, headers)


def check_choice(choice: str) -> None:
    """Raise RefusedRequestError 400 when the query parameter `verdicts` is not one of all, errors, none."""
    if choice not in _CHOICES:
        raise RefusedRequestError(400, "bad_parameter", f"verdicts={choice[:40]!r} is not one of all, errors, none")


def verdict_answer(admission: Admission, choice: str) -> Response:
    """Name each row's verdict; without a choice all of them up to 1,000 rows, above that only what is not accepted."""
    everything = choice == "all" or (choice == "" and admission.rows <= ALL_VERDICTS_UP_TO)
    named: list[Verdict] = []
    if choice != "none":
        named = [verdict for verdict in admission.verdicts if everything or verdict.status != "accepted"]
    return json_answer(
        200,
        {
            "receipt_id": admission.receipt_id,
            "accepted": admission.accepted,
            "quarantined": sum(admission.quarantined.values()),
            "duplicates_in_request": admission.duplicates,
            "reasons": dict(admission.quarantined),
            "verdicts": [_verdict(verdict) for verdict in named],
        },
    )


def _verdict(verdict: Verdict) -> dict[str, object]:
    value: dict[str, object] = {"row": verdict.row, "event_id": verdict.event_id or None, "status": verdict.status}
    if verdict.reason:
        value["reason"] = verdict.reason
    if verdict.detail:
        value["detail"] = verdict.detail
    return value


def receipt_answer(receipt: Receipt) -> Response:
    """Counts, and a verdict per message with its position in the log: what is known now, and whether it is all."""
    known = sum(receipt.counts.values())
    return json_answer(
        200,
        {
            "receipt_id": receipt.receipt_id,
            "settled": receipt.is_settled,
            "processed": known - receipt.counts["on_the_way"],
            **receipt.counts,
            "reasons": receipt.reasons,
            "verdicts": [_message(row) for row in receipt.rows.iter_rows(named=True)],
            "verdicts_left_out": known - receipt.rows.height,
        },
    )


def _message(row: dict[str, Any]) -> dict[str, object]:
    position = position_id(row["log_topic"], row["log_partition"], row["log_offset"])
    value = {"event_id": row["event_id"] or None, "status": row["verdict"], "position": position}
    return value | {name: row[name] for name in ("reason", "detail", "place") if row[name]}
