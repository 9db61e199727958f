"""Content-Encoding both ways, as streams.

Belongs here: which codings are understood and how. Does not belong here: reading or sending.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import lz4.frame
import zstandard

from deploy.local.clickhouse.errors import refuse


class Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...


class Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Decompression:
    """Decodes a body chunk by chunk; concatenated members (`cat a.gz b.gz`) are one body."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _DECODERS:
            known = ", ".join(sorted(_DECODERS))
            raise refuse(
                "UNKNOWN_COMPRESSION_METHOD",
                f"Unknown compression method '{encoding}' in Content-Encoding; known: {known}",
            )
        self._encoding = encoding
        self._make = _DECODERS[encoding]
        self._decoder: Any = None

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            while data:
                if self._decoder is None:
                    self._decoder = self._make()
                out.append(self._decoder.decompress(data))
                data = b""
                if self._decoder.eof:
                    data, self._decoder = self._decoder.unused_data or b"", None
        except (zlib.error, zstandard.ZstdError, RuntimeError) as error:
            raise refuse("CANNOT_DECOMPRESS", f"The body is not valid {self._encoding}: {error}") from None
        return b"".join(out)

    def finish(self) -> None:
        """Raise where the body stopped in the middle."""
        if self._decoder is not None:
            raise refuse("CANNOT_DECOMPRESS", f"The {self._encoding} body is truncated")


class _Lz4Encoder:
    """lz4.frame wants its header asked for."""

    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else self._compressor.begin()
        self._begun = True
        return bytes(head + self._compressor.compress(data))

    def flush(self) -> bytes:
        head = b"" if self._begun else self._compressor.begin()
        return bytes(head + self._compressor.flush())


_DECODERS: Final[dict[str, Callable[[], Any]]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "x-gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(15),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {  # cheapest first: the client is on this machine
    "lz4": _Lz4Encoder,
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, 31),
    "deflate": lambda: zlib.compressobj(1, zlib.DEFLATED, 15),
}


def choose_encoding(accept: str) -> str | None:
    """The cheapest coding that an Accept-Encoding header allows, or None for plain."""
    accepted = set()
    for part in accept.lower().split(","):
        name, _, quality = part.partition(";")
        if quality.strip().replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            accepted.add(name.strip())
    return next((name for name in _ENCODERS if name in accepted), None)


def make_encoder(name: str) -> Encoder:
    return _ENCODERS[name]()
