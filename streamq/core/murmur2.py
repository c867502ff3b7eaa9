"""Kafka's default partitioner for keys, as Java clients compute it (`Utils.murmur2`, `BuiltInPartitioner`)."""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of `data` with Kafka's seed, as an unsigned number (Java prints it signed)."""
    size = len(data)
    state = _SEED ^ size
    whole = size & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        state = (state * _MULTIPLIER & _MASK) ^ word
    if whole != size:
        state = (state ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    state = (state ^ state >> 13) * _MULTIPLIER & _MASK
    return state ^ state >> 15


def partition_for(key: bytes, count: int) -> int:
    """The partition of a key among `count` partitions: librdkafka's `murmur2_random`, Java's default. An empty key is
    a key; a record without one goes to a random partition, which is the producer's to choose."""
    return (murmur2(key) & _POSITIVE) % count
