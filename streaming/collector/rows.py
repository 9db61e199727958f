"""A decoded body → the bytes of its rows.

Belongs here: telling a JSON array, a single object and NDJSON apart. Does not belong here: parsing rows (`contracts`).
"""

from __future__ import annotations

import msgspec

from contracts.reading import BodyError, slice_json_array
from streaming.collector.body import JSON_TYPES, NDJSON_TYPES, RefusedRequestError

_ANY = msgspec.json.Decoder(msgspec.Raw)
_BOM = b"\xef\xbb\xbf"


def split_rows(body: bytes, content_type: str, max_rows: int) -> list[bytes]:
    """Return each row's bytes. A body that starts with `[` is a JSON array; otherwise one object or NDJSON.

    With an NDJSON content type every line is a row. Lines and elements that are no JSON are rows too: they get
    their verdict. Raises RefusedRequestError: 400 when empty or a broken array, 413 above `max_rows` rows, 415 another
    content type.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES | NDJSON_TYPES:
        raise RefusedRequestError(
            415,
            "unsupported_media_type",
            f"Content-Type {media_type!r} is not application/json or application/x-ndjson",
        )
    content = body.removeprefix(_BOM).strip()
    if not content:
        raise RefusedRequestError(400, "empty_body", "the body is empty: send a JSON array, one JSON object or NDJSON")
    if media_type not in NDJSON_TYPES and content[:1] == b"[":
        rows = _array(body)
    elif media_type not in NDJSON_TYPES and _is_one_value(content):
        rows = [content]
    else:
        rows = [line for line in (line.strip(b" \t\r") for line in content.split(b"\n")) if line]
    if not rows:
        raise RefusedRequestError(400, "empty_body", "the JSON array is empty: there is nothing to accept")
    if len(rows) > max_rows:
        raise RefusedRequestError(
            413, "too_many_rows", f"the request has {len(rows)} rows, at most {max_rows} are taken at once"
        )
    return rows


def _array(body: bytes) -> list[bytes]:
    try:
        return slice_json_array(body)
    except BodyError as error:
        raise RefusedRequestError(400, "broken_json", f"nothing was taken: {error}") from error


def _is_one_value(content: bytes) -> bool:
    if b"\n" not in content:
        return True
    try:
        _ANY.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
