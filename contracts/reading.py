"""Bytes → rows, without files: pure helpers for whoever reads requests and files.

Belongs here: cutting bytes into rows and recognising compression. Does not belong here: opening anything.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

Compression = Literal["gzip", "zstd", "lz4", "bzip2", "xz", "none"]

_MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SUFFIXES = {"gz", "gzip", "zst", "zstd", "lz4", "bz2", "xz"}
_BOM = b"\xef\xbb\xbf"
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])

_BLANKS = b" \t\r\n"
_ARRAY_START = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\[")
_MARK = re.compile(rb'["\[\]{},]')
_BRACKET = re.compile(rb'["\[\]{}]')
_REST_OF_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ROW_END = re.compile(rb"[ \t\r\n]*+(?:[,\]]|\Z)")
_OPENED_BY = {b"]": ord("["), b"}": ord("{")}


class BodyError(ValueError):
    """A body cannot be cut into rows; the message says where and why."""


def compression_of(head: bytes) -> Compression:
    """Return how data is compressed, by its first (six or more) bytes and not by a file's name."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "none")


def file_identity(source: str) -> str:
    """Return the base name that identifies a file: a compressed copy of it is the same file."""
    name = source.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and suffix.lower() in _SUFFIXES else name


def split_lines(buffer: bytes) -> list[bytes]:
    """Return the lines of a buffer without line ends (LF or CRLF); a last line end starts no further row."""
    lines = buffer.removeprefix(_BOM).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if b"\r" in buffer:
        return [line.removesuffix(b"\r") for line in lines]
    return lines


def slice_json_array(body: bytes) -> list[bytes]:
    """Return the rows of a JSON array, each byte for byte as it came, without judging them.

    A row that is no JSON (half of a surrogate pair, NaN, bytes that are no UTF-8, nesting without end) is a row all the
    same: it gets its own verdict later. Raises BodyError naming the byte (from 0) where the array itself breaks off,
    because then no row can be told from the next.
    """
    try:
        return [bytes(row) for row in _ROWS.decode(body.removeprefix(_BOM))]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _slice_by_brackets(body)


def _slice_by_brackets(body: bytes) -> list[bytes]:
    """Cut an array at the commas between its rows, by texts and brackets alone; slower than a parser, but unmoved."""
    opening = _ARRAY_START.match(body)
    if opening is None:
        raise _broken(0, "no '['")
    rows: list[bytes] = []
    at = opening.end()
    while True:
        end = _end_of_row(body, at)
        row = body[at:end].strip(_BLANKS)
        last = body[end : end + 1] == b"]"
        if row:
            rows.append(row)
        elif rows or not last:
            raise _broken(end, f"no row before the '{chr(body[end])}'")
        at = end + 1
        if last:
            break
    rest = body[at:].lstrip(_BLANKS)
    if rest:
        raise _broken(len(body) - len(rest), f"{rest[:1]!r} after the array's end")
    return rows


def _end_of_row(body: bytes, at: int) -> int:
    """Return the position of the ',' or ']' that ends the row which begins at `at`."""
    open_brackets = bytearray()
    while found := (_BRACKET if open_brackets else _MARK).search(body, at):
        mark, where, at = found[0], found.start(), found.end()
        if mark == b'"':
            text = _REST_OF_TEXT.match(body, at)
            if text is None:
                raise _broken(where, "a text without an end")
            at = text.end()
        elif mark in b"[{":
            open_brackets += mark
        elif open_brackets:
            if _OPENED_BY[mark] != open_brackets.pop():
                raise _broken(where, f"an unexpected '{mark.decode()}'")
            if not open_brackets and not _ROW_END.match(body, at):
                raise _broken(at, "neither ',' nor ']' behind a row")
        elif mark == b"}":
            raise _broken(where, "an unexpected '}'")
        else:
            return where
    raise _broken(len(body), "truncated: no ']'")


def _broken(position: int, what: str) -> BodyError:
    return BodyError(f"the body is not a JSON array of rows: {what} at byte {position}")
