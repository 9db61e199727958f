"""A request's body: read with a limit, decompressed with a limit, its format recognised.

Belongs here: bytes. Does not belong here: what the rows mean (`contracts`) or the answer (`app`).
Neither a large upload nor a small one that inflates ("zip bomb") can take more than the stated limits.
"""

from __future__ import annotations

import zlib

import zstandard

NDJSON_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-seq",
    }
)
JSON_TYPES = frozenset({"", "application/json", "text/json", "text/plain"})
ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "zstd"})

_GZIP_WBITS = 31
_GZIP_STEP = 1 << 20
_ZSTD_FEED = 256  # one input byte inflates to at most 32 KiB, so one feed adds at most 8 MiB before the check
_ZSTD_MAX_WINDOW = 1 << 27


class RefusedRequestError(Exception):
    """The request cannot be taken; `status` is the HTTP status, the message names the value and the place.

    `retry_after` (seconds) is given when the same request can be taken later.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo Content-Encoding. Raises RefusedRequestError: 400 truncated or broken, 413 above `limit`, 415 unknown."""
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit)
    raise RefusedRequestError(
        415, "unsupported_encoding", f"Content-Encoding {encoding!r} is not one of identity, gzip, zstd"
    )


def _too_large(encoding: str, limit: int) -> RefusedRequestError:
    return RefusedRequestError(
        413, "decoded_body_too_large", f"Content-Encoding {encoding}: body inflates to more than {limit} bytes"
    )


def _gunzip(body: bytes, limit: int) -> bytes:
    out = bytearray()
    rest = body
    while rest:
        member = zlib.decompressobj(wbits=_GZIP_WBITS)
        try:
            while not member.eof:
                piece = member.decompress(rest, _GZIP_STEP)
                rest = member.unconsumed_tail or member.unused_data
                out += piece
                if len(out) > limit:
                    raise _too_large("gzip", limit)
                if not piece and not member.eof and not member.unconsumed_tail:
                    raise RefusedRequestError(
                        400,
                        "truncated_body",
                        f"Content-Encoding gzip: the stream is truncated after {len(body)} bytes ({len(out)} decoded)",
                    )
        except zlib.error as error:
            raise RefusedRequestError(
                400, "broken_body", f"Content-Encoding gzip: {error} after {len(out)} decoded bytes"
            ) from error
    return bytes(out)


def _unzstd(body: bytes, limit: int) -> bytes:
    out = bytearray()
    view = memoryview(body)
    at = 0
    while at < len(body):
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()
        try:
            while not frame.eof and at < len(body):
                out += frame.decompress(view[at : at + _ZSTD_FEED])
                at = min(at + _ZSTD_FEED, len(body))
                if len(out) > limit:
                    raise _too_large("zstd", limit)
        except zstandard.ZstdError as error:
            raise RefusedRequestError(
                400, "broken_body", f"Content-Encoding zstd: {error} after {len(out)} decoded bytes"
            ) from error
        if not frame.eof:
            raise RefusedRequestError(
                400,
                "truncated_body",
                f"Content-Encoding zstd: the stream is truncated after {len(body)} bytes ({len(out)} decoded)",
            )
        at -= len(frame.unused_data)
    return bytes(out)
