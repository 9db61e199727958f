"""Which mapping reads a request's rows, and when its sender says it was sent.

Belongs here: the request's say in how its rows are read. Does not belong here: mappings themselves (`contracts`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from contracts.mapping import Mapping, list_mappings, load_mapping
from contracts.mapping_model import FILE_PART, ROW_PART
from streaming.collector.body import RefusedRequestError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)


def mapping_for(request: Request, default: str) -> Mapping:
    """Choose by `?network=` or `X-Network`. Raises RefusedRequestError 400 for an unknown or unfit mapping."""
    name = request.query_params.get("network") or request.headers.get("x-network") or default
    known = list_mappings()
    if name not in known:
        raise RefusedRequestError(
            400, "unknown_network", f"network {name[:64]!r} has no mapping; there are {', '.join(sorted(known))}"
        )
    mapping = load_mapping(name)
    if {FILE_PART, ROW_PART} & set(mapping.spec.identity.columns):
        # Every request has a first row: ids made from row numbers would declare different events duplicates.
        raise RefusedRequestError(
            400, "file_mapping", f"rows of network {name!r} are identified by their place in a file; use `tally ingest`"
        )
    return mapping


def sent_at(request: Request) -> datetime | None:
    """Read `X-Sent-At`, the sender's clock: ISO 8601 or ms since 1970. Raises RefusedRequestError 400 if neither."""
    text = request.headers.get("x-sent-at", "").strip()
    if not text:
        return None
    try:
        moment = _EPOCH + timedelta(milliseconds=int(text)) if text.isdigit() else datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise RefusedRequestError(
            400, "bad_header", f"X-Sent-At {text[:64]!r} is neither ISO 8601 nor milliseconds since 1970"
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if not _EPOCH <= moment < _LATEST:
        raise RefusedRequestError(400, "bad_header", f"X-Sent-At {text[:64]!r} is not a plausible time")
    return moment
