"""Offset commits over librdkafka.

The binding lets one thread at a time into a consumer and makes the others wait (confluent-kafka 2.16.1): a thread that
commits would wait for the owner's poll to end, and, during a revocation, for the revocation itself. So commits belong
to the owner's thread. Between polls they are sent asynchronously, and polls bring their answers; inside a rebalance
callback, where no poll can be made, they are sent synchronously. An answer that the owner waits for without polling is
fetched by sending the same commit again, synchronously: its coordinator takes both in order, and they say the same.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka import records
from streamq.kafka.errors import to_error
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import CommitAnswer
from streamq.model.records import CommitPoint, TopicPartition

COMMIT_BYTES = 400_000
"""A coordinator stores a request as one batch of at most 1 MB: large commits are sent in parts of this size."""
_POINT_BYTES = 64

Points = Mapping[TopicPartition, CommitPoint]


class CommitFuture(Future[CommitAnswer]):
    """An answer that polls bring; who waits for it on the owner's thread gets it by a synchronous commit."""

    def __init__(self, fetch: Callable[[], None]) -> None:
        super().__init__()
        self._fetch = fetch
        self._owner = threading.get_ident()

    def result(self, timeout: float | None = None) -> CommitAnswer:
        """The answer. On the owner's thread this may take longer than `timeout`: as long as librdkafka waits for the
        coordinator (`session.timeout.ms` for its address, `socket.timeout.ms` for its answer)."""
        if not self.done() and threading.get_ident() == self._owner:
            self._fetch()
        return super().result(timeout)


class _Flight:
    """One commit on its way, in one or several requests."""

    def __init__(self, points: Points, fetch: Callable[[], None]) -> None:
        self.points = points
        self.answer = CommitFuture(fetch)
        self._outcome: dict[TopicPartition, BrokerError | None] = {}

    def take(self, outcome: CommitAnswer) -> None:
        """The answer to a part of it; the last one completes it."""
        self._outcome.update(outcome)
        if len(self._outcome) >= len(self.points) and not self.answer.done():
            self.answer.set_result(self._outcome)


class _Request(NamedTuple):
    """What was sent asynchronously and not answered. Answers name partitions and offsets only."""

    key: frozenset[tuple[str, int, int]]
    points: Points
    flight: _Flight


class Commits:
    """Owner thread only. `synchronous` is set while no poll can be made."""

    def __init__(self) -> None:
        self._consumer: Consumer | None = None
        self._flight: _Flight | None = None
        self._requests: deque[_Request] = deque()
        self.synchronous = False

    def attach(self, consumer: Consumer) -> None:
        """The consumer exists only after its callbacks do."""
        self._consumer = consumer

    def send(self, points: Points) -> Future[CommitAnswer]:
        """Send one commit. Blocks for the answer if `synchronous`, else not at all."""
        flight = self._flight = _Flight(points, self.fetch)
        if not points:
            flight.answer.set_result({})
        elif self.synchronous:
            self.fetch()
        else:
            for part in parts(points):
                self._send_part(part, flight)
        return flight.answer

    def fetch(self) -> None:
        """Have an answer to the commit in flight. Blocks for as long as the coordinator takes."""
        flight, self._flight = self._flight, None
        if flight is not None and not flight.answer.done():
            for part in parts(flight.points):
                flight.take(self._commit(part))

    def answered(self, error: KafkaError | None, found: list[KafkaPartition]) -> None:
        """librdkafka's `on_commit`, inside polls. The answer to a commit that was fetched meanwhile tells nothing
        new."""
        key = _key(found)
        for at, request in enumerate(self._requests):
            if request.key == key:
                del self._requests[at]
                if not request.flight.answer.done():
                    request.flight.take(self._outcome(request.points, error, found))
                return

    def _send_part(self, part: Points, flight: _Flight) -> None:
        sent = records.kafka_points(part)
        request = _Request(_key(sent), part, flight)
        self._requests.append(request)
        try:
            self._client.commit(offsets=sent, asynchronous=True)
        except KafkaException as error:
            self._requests.remove(request)
            flight.take(dict.fromkeys(part, _typed(error.args[0])))
        except RuntimeError as error:  # the consumer is closed
            self._requests.remove(request)
            flight.take(dict.fromkeys(part, RetriableError(f"commit was not sent: {error}")))

    def _commit(self, points: Points) -> CommitAnswer:
        try:
            answered = self._client.commit(offsets=records.kafka_points(points), asynchronous=False)
        except KafkaException as error:
            return self._outcome(points, error.args[0], ())
        except RuntimeError as error:  # the consumer is closed
            return dict.fromkeys(points, RetriableError(f"commit was not sent: {error}"))
        return self._outcome(points, None, answered or ())

    def _outcome(self, points: Points, error: KafkaError | None, found: Sequence[KafkaPartition]) -> CommitAnswer:
        """Per partition. An error of the request stands for the first error of its partitions: those with metadata
        that the broker takes were committed all the same. Who they are is found by sending each alone."""
        if error is not None and error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and len(points) > 1:
            alone: dict[TopicPartition, BrokerError | None] = {}
            for partition, point in points.items():
                alone.update(self._commit({partition: point}))
            return alone
        if error is not None:
            return dict.fromkeys(points, _typed(error))
        outcome: dict[TopicPartition, BrokerError | None] = dict.fromkeys(points)
        for each in found:
            if each.error is not None:
                outcome[records.partition(each)] = _typed(each.error)
        return outcome

    @property
    def _client(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the consumer is not made yet")
        return self._consumer


def parts(points: Points) -> Sequence[Points]:
    """The points in requests of at most `COMMIT_BYTES`, in their order."""
    found: list[dict[TopicPartition, CommitPoint]] = [{}]
    size = 0
    for partition, point in points.items():
        bytes_of_point = _POINT_BYTES + len(partition.topic) + len(point.metadata)
        size += bytes_of_point
        if size > COMMIT_BYTES and found[-1]:
            found.append({})
            size = bytes_of_point
        found[-1][partition] = point
    return found


def _key(found: Sequence[KafkaPartition]) -> frozenset[tuple[str, int, int]]:
    return frozenset((each.topic, each.partition, each.offset) for each in found)


def _typed(error: KafkaError) -> BrokerError:
    return to_error(error, "commit", may_have_happened=True)
