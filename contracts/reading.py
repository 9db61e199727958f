"""Bytes → rows, without files: pure helpers for whoever reads requests and files.

Belongs here: cutting bytes into rows and recognising compression. Does not belong here: opening anything.
"""

from __future__ import annotations

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
    """Return the rows of a JSON array, each byte for byte as it came, without parsing them.

    Raises BodyError when the body is no JSON array: then no row in it can be told from the next.
    """
    try:
        return [bytes(row) for row in _ROWS.decode(body.removeprefix(_BOM))]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(f"the body is not a JSON array of rows: {error}") from error


def split_body(body: bytes) -> list[bytes]:
    """Return the rows of a request's body: a JSON array if it starts with `[`, else NDJSON."""
    return slice_json_array(body) if body.removeprefix(_BOM).lstrip()[:1] == b"[" else split_lines(body)
