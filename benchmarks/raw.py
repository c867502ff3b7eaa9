"""The raw client, well set: what streamq is measured against."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer, TopicPartition

SETTINGS: dict[str, str | int | float | bool] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "queued.min.messages": 20_000,
    "fetch.queue.backoff.ms": 2,
}


def fill(bootstrap: str, topic: str, records: int, keys: int, value: bytes) -> None:
    """Produce `records` records over `keys` keys."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "partitioner": "murmur2_random"})
    for number in range(records):
        while True:
            try:
                producer.produce(topic, value, f"key-{number % keys}")
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()


def consume_all(bootstrap: str, topic: str, partitions: int, records: int) -> float:
    """Read all records by `consume(500)` and look at each one's key, value and offset. Records a second, from the first
    one on."""
    consumer = Consumer({**SETTINGS, "bootstrap.servers": bootstrap, "group.id": f"raw-{topic}"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    seen = 0
    began = 0.0
    while seen < records:
        for message in consumer.consume(500, 1.0):
            if message.error() is None:
                message.key(), message.value(), message.offset()
                seen += 1
        began = began or time.perf_counter()
    seconds = time.perf_counter() - began
    consumer.close()
    return records / seconds
