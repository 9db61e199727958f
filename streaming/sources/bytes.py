"""A file's bytes, decompressed, in blocks of constant memory.

Belongs here: opening, gzip and zstd by their first bytes, truncation. Does not belong here: rows (`rows`).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from contracts.reading import compression_of
from streaming.sources.errors import SourceError

BLOCK = 1 << 20
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


class _Counted(io.RawIOBase):
    def __init__(self, file: IO[bytes], counter: Progress) -> None:
        self._file = file
        self._counter = counter

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._counter.bytes += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what gzip and io hand over
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _refuse_other_formats(path: Path, head: bytes, compression: str) -> None:
    if compression in ("lz4", "bzip2", "xz"):
        raise SourceError(f"{path}: is compressed with {compression}; gzip, zstd and plain files are read")
    for magic, name in _OTHER_FORMATS:
        if head.startswith(magic):
            raise SourceError(f"{path}: is {name}; NDJSON, CSV and separated text are read")


def _decompressed(path: Path, file: _Counted, compression: str) -> Iterator[bytes]:
    done = 0
    try:
        if compression == "zstd":
            yield from _zstd(path, file)
            return
        buffered = io.BufferedReader(file, BLOCK)
        reader = gzip.GzipFile(fileobj=buffered) if compression == "gzip" else buffered
        while block := reader.read(BLOCK):
            done += len(block)
            yield block
    except EOFError as error:
        raise SourceError(f"{path}: the gzip stream is truncated after {done:,} decompressed bytes") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path}: the gzip stream is broken after {done:,} decompressed bytes: {error}") from error


def _zstd(path: Path, file: _Counted) -> Iterator[bytes]:
    """Decompress frame by frame: zstandard's own reader takes a truncated frame for the end of the file."""
    done = 0
    pending = b""
    while True:
        frame = zstandard.ZstdDecompressor().decompressobj()
        begun = False
        while not frame.eof:
            data = pending or file.read(BLOCK // 16)
            pending = b""
            if not data:
                if begun:
                    raise SourceError(f"{path}: the zstd stream is truncated after {done:,} decompressed bytes")
                return
            begun = True
            try:
                block = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise SourceError(
                    f"{path}: the zstd stream is broken after {done:,} decompressed bytes: {error}"
                ) from error
            done += len(block)
            if block:
                yield block
        pending = frame.unused_data
