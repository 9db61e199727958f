"""Which partition a key belongs to: murmur2, as Kafka's default partitioner computes it.

Belongs here: the hash, one key at a time and by columns. Does not belong here: anything about a store.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_COLUMNAR_FROM = 16  # below this many keys of one length, numpy's fixed cost is the larger


def murmur2(key: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of `key` as an unsigned integer (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(key)
    whole = length & ~3
    h = _SEED ^ length
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k ^= k >> 24
        h = (h * _M & _MASK) ^ (k * _M & _MASK)
    if length != whole:
        h ^= int.from_bytes(key[whole:], "little")
        h = h * _M & _MASK
    h ^= h >> 13
    h = h * _M & _MASK
    return h ^ (h >> 15)


def _murmur2_columns(keys: list[bytes], length: int) -> NDArray[np.uint32]:
    """Return murmur2 of keys that all have `length` bytes: uint32[len(keys)]."""
    data = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), length)
    whole = length & ~3
    words = np.ascontiguousarray(data[:, :whole]).view("<u4")
    m = np.uint32(_M)
    h = np.full(len(keys), _SEED ^ length, dtype=np.uint32)
    for column in range(words.shape[1]):
        k = words[:, column] * m
        k ^= k >> np.uint32(24)
        h = (h * m) ^ (k * m)
    if length != whole:
        for position in range(whole, length):
            h ^= data[:, position].astype(np.uint32) << np.uint32(8 * (position - whole))
        h *= m
    h ^= h >> np.uint32(13)
    h *= m
    return h ^ (h >> np.uint32(15))


def partitions_of(keys: Sequence[bytes | None], partitions: int, first_null: int = 0) -> list[int]:
    """Return a partition for each key; keys that are None go round, starting at partition `first_null`.

    Equal keys get equal partitions on every machine and in every implementation: `(murmur2(key) & 0x7fffffff) % n`.
    """
    out = [0] * len(keys)
    by_length: dict[int, list[int]] = {}
    null_count = 0
    for index, key in enumerate(keys):
        if key is None:
            out[index] = (first_null + null_count) % partitions
            null_count += 1
        else:
            by_length.setdefault(len(key), []).append(index)
    for length, indexes in by_length.items():
        same = [key for key in (keys[index] for index in indexes) if key is not None]
        if length == 0 or len(same) < _COLUMNAR_FROM:
            hashes = [murmur2(key) for key in same]
        else:
            hashes = _murmur2_columns(same, length).tolist()
        for index, value in zip(indexes, hashes, strict=True):
            out[index] = (value & 0x7FFFFFFF) % partitions
    return out


def null_count(keys: Sequence[bytes | None]) -> int:
    """Return how many keys are None: by so many the round-robin moves on."""
    return sum(1 for key in keys if key is None)
