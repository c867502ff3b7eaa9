"""Between librdkafka's messages and partitions and ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

from confluent_kafka import KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka.errors import to_error
from streamq.model.errors import FatalBrokerError, FencedError
from streamq.model.ports import ConsumerEvent, OutOfRange, Polled, ReachedEnd, Trouble
from streamq.model.records import CommitPoint, NextOffset, Offset, Record, TopicPartition


class _Polled(Protocol):
    """A message as a poll gives it: it has topic, partition and offset, unless it is an error of the client."""

    def error(self) -> KafkaError | None: ...
    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> Offset: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...


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
    """Records and events out of what was polled. The hot path: one pass, each accessor once, no call of ours.

    Raises:
        FencedError, FatalBrokerError: the client reports that it cannot go on.
    """
    records: list[Record] = []
    append = records.append
    events: list[ConsumerEvent] = []
    for message in cast("Sequence[_Polled]", messages):
        error = message.error()
        if error is not None:
            events.append(_event(cast("Message", message), error))
            continue
        headers = message.headers()
        append(
            Record(
                message.topic(),
                message.partition(),
                message.offset(),
                message.key(),
                message.value(),
                tuple(headers) if headers else (),
                message.timestamp()[1],
            )
        )
    return Polled(records, events)


def _event(message: Message, error: KafkaError) -> ConsumerEvent:
    code = error.code()
    offset = message.offset() or 0
    place = TopicPartition(message.topic() or "", message.partition() or 0)
    if code == KafkaError._PARTITION_EOF:
        return ReachedEnd(place, NextOffset(offset))
    if code in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        return OutOfRange(place, Offset(offset))
    typed = to_error(error, f"reading {place}" if message.topic() else "reading")
    if isinstance(typed, FencedError | FatalBrokerError):
        raise typed
    return Trouble(typed)
