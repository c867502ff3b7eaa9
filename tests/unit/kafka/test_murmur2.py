"""The partition of a key is the one that Java clients and librdkafka choose: order per key depends on it."""

from __future__ import annotations

import random

import confluent_kafka
import pytest

from streamq.core.murmur2 import murmur2, partition_for


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_hash_equals_java(text: str, signed: int) -> None:
    """Values from the tests of Kafka's own Java client (`UtilsTest.testMurmur2`)."""
    assert murmur2(text.encode()) == signed & 0xFFFFFFFF


def test_partition_equals_librdkafka() -> None:
    """For keys of all lengths and bytes, and counts that are no powers of two."""
    chance = random.Random(7)
    for length in range(70):
        for count in (1, 2, 3, 6, 7, 12, 100, 1000):
            key = chance.randbytes(length)
            assert partition_for(key, count) == confluent_kafka.murmur2(key, count), key
