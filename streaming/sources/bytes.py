"""A file's bytes, decompressed, in blocks of constant memory.

Belongs here: opening, gzip and zstd by their first bytes, truncation. Does not belong here: rows (`rows`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from contracts.reading import Compression, compression_of
from streaming.sources.errors import SourceError

BLOCK = 1 << 20
_FEED = 64 << 10
_OTHER_FORMATS = (
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a ZIP or Office file"),
    (b"SQLite format 3", "a SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow file"),
)


def read_blocks(path: Path, on_read: Progress | None = None) -> Iterator[bytes]:
    """Yield the decompressed content in blocks. `on_read` holds how many bytes of the file were taken.

    Raises SourceError: no such file, a folder, no rights, a format without lines, truncated or broken compression.
    """
    counter = on_read or Progress()
    try:
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            compression = compression_of(head)
            _refuse_other_formats(path, head, compression)
            counted = _Counted(file, counter)
            yield from _decompressed(path, counted, compression)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


class Progress:
    """Bytes of the file (compressed, where it is) that were taken so far."""

    def __init__(self) -> None:
        self.bytes = 0


class _Counted:
    """A file that counts what was read of it."""

    def __init__(self, file: IO[bytes], counter: Progress) -> None:
        self._file = file
        self._counter = counter

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._counter.bytes += len(data)
        return data


def _refuse_other_formats(path: Path, head: bytes, compression: Compression) -> None:
    if compression in ("lz4", "bzip2", "xz"):
        raise SourceError(f"{path}: is compressed with {compression}; gzip, zstd and plain files are read")
    for magic, name in _OTHER_FORMATS:
        if head.startswith(magic):
            raise SourceError(f"{path}: is {name}; NDJSON, CSV and separated text are read")


def _decompressed(path: Path, file: _Counted, compression: Compression) -> Iterator[bytes]:
    """Decompress member by member; what came before a fault is given out, the libraries' own readers would drop it."""
    if compression == "none":
        while block := file.read(BLOCK):
            yield block
        return
    done = 0
    pending = b""
    while pending := pending or file.read(_FEED):
        member = _Gzip() if compression == "gzip" else _Zstd()
        while not member.ended:
            try:
                block = member.feed(pending)
            except (zlib.error, zstandard.ZstdError) as error:
                raise SourceError(
                    f"{path}: the {compression} stream is broken after {done:,} decompressed bytes: {error}"
                ) from error
            done += len(block)
            if block:
                yield block
            elif not pending and not member.ended:  # nothing came in and nothing came out
                raise SourceError(f"{path}: the {compression} stream is truncated after {done:,} decompressed bytes")
            pending = member.rest
            if not pending and not member.ended:
                pending = file.read(_FEED)


class _Gzip:
    """One member of a gzip file. `rest` is input that was not taken: fed again, or the next member's."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)
        self.rest = b""

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def feed(self, data: bytes) -> bytes:
        block = self._decoder.decompress(data, BLOCK)
        self.rest = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        return block


class _Zstd:
    """One frame of a zstd file; as `_Gzip`, but a feed's output is bounded by its input, which is small."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        self.rest = b""

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def feed(self, data: bytes) -> bytes:
        block = self._decoder.decompress(data)
        self.rest = self._decoder.unused_data
        return block
