"""Journal records as an owner writes them, appended to a retry topic in memory."""

from __future__ import annotations

from streamq.core.journal_records import Entry, JournalRecord, encode
from streamq.model.records import TopicPartition

from .shop import Shop

RETRY = "shop.charge.retry"
SOURCE_ID = b"s" * 16


def entry(offset: int, key: bytes | None = b"k", *, attempts: int = 2, next_at_ms: int = 0) -> Entry:
    """A parked record of `orders`."""
    return Entry(key, b"{}", (("user", b"own"),), 1_000 + offset, SOURCE_ID, 0, offset, attempts, next_at_ms)


def write(shop: Shop, *records: JournalRecord, partition: int = 0) -> list[int]:
    """Append these; their places."""
    places = []
    for record in records:
        payload = encode(record)
        place = TopicPartition(RETRY, partition)
        places.append(shop.cluster.append(place, payload.value, payload.key, payload.headers, payload.timestamp_ms))
    return [int(delivery.offset) for delivery in places]
