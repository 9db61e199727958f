"""Refusals, as RFC 9457 problem documents that name the parameter and the value.

Belongs here: statuses, titles, the shape of the document, which error of the query layer is which of them. Does not
belong here: checking.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from serving.errors import QueryError, UnknownNameError

MEDIA_TYPE = "application/problem+json"
SHOWN_CHARACTERS = 200
"""A refused value is repeated up to here: it may be a megabyte."""

TITLES: Mapping[str, tuple[int, str]] = {
    "bad-parameter": (400, "A parameter is wrong"),
    "bad-cursor": (400, "The cursor is not one of this question"),
    "too-large": (400, "The answer would be too large"),
    "no-key": (401, "An API key is needed"),
    "not-allowed": (403, "This key may not do that"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "That method is not possible here"),
    "body-too-large": (413, "The body is too large"),
    "rate-limited": (429, "Too many requests"),
    "unavailable": (503, "A store does not answer"),
    "busy": (503, "Too many questions wait for an answer"),
    "internal": (500, "An error of ours"),
}

_PARAMETERS = {
    "metric": "id", "time zone": "tz", "grain": "grain", "order": "order", "by": "by", "filters": "where",
    "limit": "limit", "range": "from, to", "as_of": "as_of",
}  # fmt: skip


class ProblemError(Exception):
    """A refusal. `kind` is a key of TITLES; `parameter` and `value` are given where one of them is to blame."""

    def __init__(
        self, kind: str, detail: str, *, parameter: str = "", value: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.parameter = parameter
        self.value = value
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return TITLES[self.kind][0]

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "type": f"urn:tally:problem:{self.kind}",
            "title": TITLES[self.kind][1],
            "status": self.status,
            "detail": shown(self.detail, SHOWN_CHARACTERS * 5),
        }
        if self.parameter:
            document["parameter"] = self.parameter
        if self.value is not None:
            document["value"] = shown(self.value)
        return document

    def response(self) -> Response:
        headers = {"Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="tally"'
        return Response(orjson.dumps(self.document()), self.status, headers, MEDIA_TYPE)


def shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """The text as far as it is repeated to whoever sent it; lone surrogates, which are no UTF-8, as question marks."""
    whole = text if len(text) <= most else f"{text[:most]}…"
    return whole.encode("utf-8", "replace").decode("utf-8")


def of_query_error(error: QueryError) -> ProblemError:
    """The refusal of a question that the query layer cannot answer: 404 for an unknown metric, else 400."""
    if isinstance(error, UnknownNameError):
        if error.kind == "metric":
            return ProblemError("not-found", str(error), parameter="id", value=error.name)
        parameter = _PARAMETERS.get(error.kind, "by, where" if error.kind.startswith("dimension") else "")
        return ProblemError("bad-parameter", str(error), parameter=parameter, value=error.name)
    return ProblemError("bad-parameter", str(error), parameter=_PARAMETERS.get(str(error).partition(":")[0], ""))
