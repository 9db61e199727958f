"""The collector's answers as JSON.

Belongs here: their shapes. Does not belong here: deciding which one (`app`).
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from streaming.collector.body import RefusedRequestError
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


def receipt_answer(receipt_id: str, account: Mapping[str, object]) -> Response:
    """Say what the raw store knows of a receipt; 404 while it knows nothing (yet)."""
    counts = {name: int(str(account.get(name, 0))) for name in ("stored", "duplicate", "quarantined")}
    processed = sum(counts.values())
    if not processed:
        return error(404, "unknown_receipt", f"nothing has been stored under receipt {receipt_id[:64]!r} (yet)")
    return json_answer(
        200, {"receipt_id": receipt_id, "processed": processed, **counts, "reasons": account.get("reasons", {})}
    )
