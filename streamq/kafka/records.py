"""Between librdkafka's messages and partitions and ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka.errors import to_error
from streamq.model.errors import FatalBrokerError, FencedError
from streamq.model.ports import ConsumerEvent, OutOfRange, Polled, ReachedEnd, Trouble
from streamq.model.records import CommitPoint, Headers, NextOffset, Offset, Record, TopicPartition


def partition(found: KafkaPartition) -> TopicPartition:
    """Ours of theirs."""
    return TopicPartition(found.topic, found.partition)


def partitions(found: Iterable[KafkaPartition]) -> list[TopicPartition]:
    """Ours of theirs."""
    return [TopicPartition(each.topic, each.partition) for each in found]


def kafka_partitions(ours: Iterable[TopicPartition], offset: int | None = None) -> list[KafkaPartition]:
    """Theirs of ours."""
    if offset is None:
        return [KafkaPartition(each.topic, each.partition) for each in ours]
    return [KafkaPartition(each.topic, each.partition, offset) for each in ours]


def kafka_points(points: Mapping[TopicPartition, CommitPoint]) -> list[KafkaPartition]:
    """Offsets with their metadata, as a commit takes them."""
    return [
        KafkaPartition(partition.topic, partition.partition, point.next_offset, metadata=point.metadata)
        for partition, point in points.items()
    ]


def take(messages: Sequence[Message]) -> Polled:
    """Records and events out of what was polled. The hot path: one pass, nothing called twice.

    Raises:
        FencedError, FatalBrokerError: the client reports that it cannot go on.
    """
    records: list[Record] = []
    append = records.append
    events: list[ConsumerEvent] = []
    for message in messages:
        error = message.error()
        if error is not None:
            events.append(_event(message, error))
            continue
        headers = message.headers()
        append(
            Record(
                cast("str", message.topic()),
                cast("int", message.partition()),
                Offset(cast("int", message.offset())),
                message.key(),
                message.value(),
                _headers(headers) if headers else (),
                message.timestamp()[1],
            )
        )
    return Polled(records, events)


def _headers(headers: object) -> Headers:
    return tuple(cast("Sequence[tuple[str, bytes | None]]", headers))


def _event(message: Message, error: KafkaError) -> ConsumerEvent:
    code = error.code()
    place = TopicPartition(message.topic() or "", message.partition() or 0)
    if code == KafkaError._PARTITION_EOF:
        return ReachedEnd(place, NextOffset(message.offset() or 0))
    if code in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        return OutOfRange(place, Offset(message.offset() or 0))
    typed = to_error(error, f"reading {place}" if message.topic() else "reading")
    if isinstance(typed, FencedError | FatalBrokerError):
        raise typed
    return Trouble(typed)
