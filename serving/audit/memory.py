"""Memory that an allocator keeps after use is given back: the auditor works in bursts and rests in between.

Belongs here: asking Arrow's pool and glibc. Does not belong here: how much is used at a time (`rounds.PIECE`).
"""

from __future__ import annotations

import ctypes
import gc

import pyarrow as pa


def give_back_memory() -> None:
    """Return what is free to the operating system; does nothing where the C library is not glibc."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
