"""Offset commits over librdkafka: sent by a thread of their own, so that their answers come without polls, also while
the owner waits in a revocation, and however long a broker does not answer (librdkafka then repeats a commit for ever).

librdkafka's consumer may be called from any thread. The binding (confluent-kafka 2.16.1) lets one caller at a time into
it and makes others wait: for the end of a poll, or of a revocation. It takes a caller for the same by the identity that
this context variable holds, else the thread's; so the thread says for whom it commits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.cimpl import _reentry_identity_var as _identity

from streamq.kafka import records
from streamq.kafka.errors import to_error
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import CommitAnswer
from streamq.model.records import CommitPoint, TopicPartition

COMMIT_BYTES: Final = 400_000
"""A coordinator stores a request as one batch of at most 1 MB: large commits are sent in parts of this size."""
_POINT_BYTES: Final = 64

Points = Mapping[TopicPartition, CommitPoint]


class _Job(NamedTuple):
    points: Points
    answer: Future[CommitAnswer]


def start_for(owner: int, call: Callable[[], None], name: str) -> threading.Thread:
    """Call into a consumer on a daemon thread, on behalf of its owner's thread."""

    def run() -> None:
        _identity.set(owner)
        call()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class Commits:
    """Of one librdkafka consumer. Its owner's thread sends and closes; a daemon thread waits for answers."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, points: Points) -> Future[CommitAnswer]:
        """Send one commit, in parts where it is large. Never blocks."""
        if self._thread is None:
            self._thread = start_for(threading.get_ident(), self._run, "streamq-commit")
        answer: Future[CommitAnswer] = Future()
        self._jobs.put(_Job(points, answer))
        return answer

    def close(self) -> None:
        """Nothing more is sent; what was sent is still answered."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome: dict[TopicPartition, BrokerError | None] = {}
            for part in parts(job.points):
                outcome.update(self._commit(part))
            job.answer.set_result(outcome)

    def _commit(self, points: Points) -> CommitAnswer:
        try:
            answered = self._consumer.commit(offsets=records.kafka_points(points), asynchronous=False)
        except KafkaException as error:
            return self._refused(points, error.args[0])
        except RuntimeError as error:  # the consumer is closed
            return dict.fromkeys(points, RetriableError(f"commit was not sent: {error}"))
        outcome: dict[TopicPartition, BrokerError | None] = dict.fromkeys(points)
        for each in answered or ():
            if each.error is not None:
                outcome[records.partition(each)] = _typed(each.error)
        return outcome

    def _refused(self, points: Points, error: KafkaError) -> CommitAnswer:
        """The request's error is that of one of its partitions; those with metadata that the broker takes were
        committed all the same. Who they are is found by sending each alone."""
        if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and len(points) > 1:
            alone: dict[TopicPartition, BrokerError | None] = {}
            for partition, point in points.items():
                alone.update(self._commit({partition: point}))
            return alone
        return dict.fromkeys(points, _typed(error))


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


def _typed(error: KafkaError) -> BrokerError:
    return to_error(error, "commit", may_have_happened=True)
