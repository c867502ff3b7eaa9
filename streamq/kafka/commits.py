"""Offset commits over librdkafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from streamq.kafka import records
from streamq.kafka.errors import to_error
from streamq.model.errors import BrokerError, FencedError, RetriableError
from streamq.model.ports import CommitAnswer
from streamq.model.records import CommitPoint, TopicPartition

COMMIT_BYTES: Final = 400_000
"""A coordinator stores a request as one batch of at most 1 MB: large commits are sent in parts of this size."""
_POINT_BYTES: Final = 64

Points = Mapping[TopicPartition, CommitPoint]


def commit(consumer: Consumer, points: Points) -> CommitAnswer:
    """Commit, in parts where it is large. Blocks for the answers: for ever, where a broker stands still."""
    outcome: dict[TopicPartition, BrokerError | None] = {}
    for part in parts(points):
        outcome.update(_commit(consumer, part))
    return outcome


def parts(points: Points) -> Sequence[Points]:
    """The points in requests of at most `COMMIT_BYTES`, in their order."""
    found: list[dict[TopicPartition, CommitPoint]] = []
    size = COMMIT_BYTES
    for partition, point in points.items():
        bytes_of_point = _POINT_BYTES + len(partition.topic) + len(point.metadata)
        size += bytes_of_point
        if size > COMMIT_BYTES:
            found.append({})
            size = bytes_of_point
        found[-1][partition] = point
    return found


def _commit(consumer: Consumer, points: Points) -> CommitAnswer:
    try:
        answered = consumer.commit(offsets=records.kafka_points(points), asynchronous=False)
    except KafkaException as error:
        return _refused(consumer, points, error.args[0])
    except RuntimeError as error:  # the consumer is closed
        return dict.fromkeys(points, RetriableError(f"commit was not sent: {error}"))
    outcome: dict[TopicPartition, BrokerError | None] = dict.fromkeys(points)
    for each in answered or ():
        if each.error is not None:
            outcome[records.partition(each)] = _typed(each.error)
    return outcome


def _refused(consumer: Consumer, points: Points, error: KafkaError) -> CommitAnswer:
    """The request's error is that of one of its partitions; those with metadata that the broker takes were committed
    all the same. Who they are is found by sending each alone."""
    if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and len(points) > 1:
        alone: dict[TopicPartition, BrokerError | None] = {}
        for partition, point in points.items():
            alone.update(_commit(consumer, {partition: point}))
        return alone
    return dict.fromkeys(points, _typed(error))


def _typed(error: KafkaError) -> BrokerError:
    typed = to_error(error, "commit", may_have_happened=True)
    if error.code() == KafkaError._FATAL:
        # A heartbeat was first to hear of it, and the commit is told no cause. What ends a member that had joined is
        # another with its static identity; its next poll says so, too.
        return FencedError(str(typed), code=typed.code)
    return typed
