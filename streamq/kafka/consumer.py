"""A group member and a reader over librdkafka's consumer."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka import records
from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.settings import Settings
from streamq.model.errors import BrokerError, ConfigError, FatalBrokerError, FencedError, RetriableError
from streamq.model.ports import (
    NOTHING_POLLED,
    CommitAnswer,
    ConsumerEvent,
    Polled,
    RebalanceListener,
    Trouble,
)
from streamq.model.records import CommitPoint, NextOffset, TopicPartition

_log = logging.getLogger("streamq.kafka")

COMMIT_BYTES = 400_000
"""A coordinator stores a request as one batch of at most 1 MB: large commits are sent in parts of this size."""
_POINT_BYTES = 64


def make_consumer(settings: Settings, on_error: Callable[[KafkaError], None]) -> Consumer:
    """librdkafka's consumer, its log lines going to Python's logging.

    Raises:
        ConfigError: a setting that librdkafka does not know or take.
    """
    try:
        return Consumer({**settings, "error_cb": on_error}, logger=_log)
    except (KafkaException, ValueError, TypeError) as error:
        raise ConfigError(f"kafka settings are not usable: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)


class Troubles:
    """What librdkafka reports beside records: kept until the next poll."""

    def __init__(self) -> None:
        self._found: deque[BrokerError] = deque()

    def note(self, error: KafkaError) -> None:
        """librdkafka's error callback; called inside polls."""
        self._found.append(to_error(error, "connection"))

    def take(self) -> list[ConsumerEvent]:
        """What was reported since the last call.

        Raises:
            FencedError, FatalBrokerError: the client cannot go on.
        """
        events: list[ConsumerEvent] = []
        while self._found:
            error = self._found.popleft()
            if isinstance(error, FencedError | FatalBrokerError):
                raise error
            events.append(Trouble(error))
        return events

    def __bool__(self) -> bool:
        return bool(self._found)


class KafkaReader:
    """See `ReaderPort`."""

    def __init__(self, settings: Settings) -> None:
        self._troubles = Troubles()
        self._consumer = make_consumer(settings, self._troubles.note)
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Read these and no others, from there on."""
        self._consumer.assign([KafkaPartition(one.topic, one.partition, offset) for one, offset in positions.items()])

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says."""
        return _poll(self._consumer, self._troubles, timeout_s, max_records)

    def close(self) -> None:
        """Release the connection."""
        if not self._closed:
            self._closed = True
            self._consumer.close()


class KafkaConsumer:
    """See `ConsumerPort`."""

    def __init__(self, settings: Settings) -> None:
        self._troubles = Troubles()
        self._consumer = make_consumer(settings, self._troubles.note)
        self._topic = ""
        self._listener: RebalanceListener | None = None
        self._assigned: set[TopicPartition] = set()
        self._failure: BaseException | None = None
        self._commits = _Commits(self._consumer)
        self._closed = False

    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        """Join the group."""
        self._topic, self._listener = topic, listener
        self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says."""
        polled = _poll(self._consumer, self._troubles, timeout_s, max_records)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return polled

    def seek(self, partition: TopicPartition, next_offset: NextOffset) -> None:
        """Set the position of an assigned partition."""
        try:
            self._consumer.seek(KafkaPartition(partition.topic, partition.partition, next_offset))
        except KafkaException as error:
            typed = from_exception(error, f"seeking {partition} to {next_offset}")
            # Erroneous state, unknown partition: its fetcher has not started yet.
            raise RetriableError(str(typed), code=typed.code) from error

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Poll nothing more of these."""
        ours = [one for one in partitions if one in self._assigned]
        if ours:
            self._consumer.pause(records.kafka_partitions(ours))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """The opposite of `pause`."""
        ours = [one for one in partitions if one in self._assigned]
        if ours:
            self._consumer.resume(records.kafka_partitions(ours))

    def commit(self, points: Mapping[TopicPartition, CommitPoint]) -> Future[CommitAnswer]:
        """Send one commit."""
        return self._commits.send(points)

    def rejoin(self) -> None:
        """Leave the group and join it anew."""
        lost = sorted(self._assigned)
        self._assigned.clear()
        if self._listener is not None and lost:
            self._listener.on_lost(lost)
        self._consumer.unsubscribe()
        self._subscribe()

    def close(self, timeout_s: float) -> None:
        """Leave the group, bounded in time: librdkafka's own close has no limit when a broker does not answer."""
        if self._closed:
            return
        self._closed = True
        still = sorted(self._assigned)
        if still and self._listener is not None:
            self._listener.on_revoked(still)
        self._assigned.clear()
        self._listener = None
        self._commits.close()
        closing = threading.Thread(target=self._consumer.close, name="streamq-close", daemon=True)
        closing.start()
        closing.join(timeout_s)
        self._raise_failure_of_close()

    def _raise_failure_of_close(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # librdkafka's rebalance callbacks, inside polls. They never raise: the binding would then assign by itself.

    def _on_assign(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        if not found:
            return
        ours = records.partitions(found)
        self._guarded(lambda: self._assign_paused(consumer, ours))

    def _assign_paused(self, consumer: Consumer, ours: list[TopicPartition]) -> None:
        # At offset 0 and paused: nothing is read until the owner has sought.
        consumer.incremental_assign(records.kafka_partitions(ours, 0))
        consumer.pause(records.kafka_partitions(ours))
        self._assigned.update(ours)
        if self._listener is not None:
            self._listener.on_assigned(ours)

    def _on_revoke(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        self._let_go(consumer, found, lost=False)

    def _on_lost(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        self._let_go(consumer, found, lost=True)

    def _let_go(self, consumer: Consumer, found: list[KafkaPartition], *, lost: bool) -> None:
        ours = [one for one in records.partitions(found) if one in self._assigned]
        listener = self._listener
        if ours and listener is not None:
            tell = listener.on_lost if lost else listener.on_revoked
            self._guarded(lambda: tell(ours))
        self._assigned.difference_update(ours)
        self._guarded(lambda: consumer.incremental_unassign(found))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except KafkaException as error:
            self._failure = self._failure or from_exception(error, "rebalance")
        except BrokerError as error:
            self._failure = self._failure or error


def _poll(consumer: Consumer, troubles: Troubles, timeout_s: float, max_records: int) -> Polled:
    # `consume(n, timeout)` comes back with n records or at the time-out only: wait for one, then take what is queued.
    first = consumer.poll(timeout_s)
    if first is None:
        return Polled((), troubles.take()) if troubles else NOTHING_POLLED
    messages = [first]
    if max_records > 1:
        messages += consumer.consume(max_records - 1, 0)
    polled = records.take(messages)
    return Polled(polled.records, [*polled.events, *troubles.take()]) if troubles else polled


class _Commits:
    """Sends commits on a thread of its own: a synchronous commit's answer comes without polls, so it is there also
    while the owner waits in a revocation."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._jobs: SimpleQueue[tuple[Mapping[TopicPartition, CommitPoint], Future[CommitAnswer]] | None] = (
            SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def send(self, points: Mapping[TopicPartition, CommitPoint]) -> Future[CommitAnswer]:
        """Queue one commit."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="streamq-commit", daemon=True)
            self._thread.start()
        answer: Future[CommitAnswer] = Future()
        self._jobs.put((points, answer))
        return answer

    def close(self) -> None:
        """Nothing more is sent."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            points, answer = job
            outcome: dict[TopicPartition, BrokerError | None] = {}
            for part in _parts(points):
                outcome.update(self._commit(part))
            answer.set_result(outcome)

    def _commit(self, points: Mapping[TopicPartition, CommitPoint]) -> CommitAnswer:
        try:
            answered = self._consumer.commit(offsets=records.kafka_points(points), asynchronous=False)
        except KafkaException as error:
            return self._refused(points, error.args[0])
        except RuntimeError as error:  # the consumer is closed
            return dict.fromkeys(points, RetriableError(f"commit: {error}"))
        outcome: dict[TopicPartition, BrokerError | None] = dict.fromkeys(points)
        for each in answered or ():
            if each.error is not None:
                outcome[records.partition(each)] = _commit_error(each.error)
        return outcome

    def _refused(self, points: Mapping[TopicPartition, CommitPoint], error: KafkaError) -> CommitAnswer:
        """The request as a whole has an error, though other partitions of it may have been taken. Metadata that is too
        large is one partition's fault: each is sent alone then, to find it."""
        if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and len(points) > 1:
            outcome: dict[TopicPartition, BrokerError | None] = {}
            for partition, point in points.items():
                outcome.update(self._commit({partition: point}))
            return outcome
        return dict.fromkeys(points, _commit_error(error))


def _commit_error(error: KafkaError) -> BrokerError:
    return to_error(error, "commit", may_have_happened=True)


def _parts(points: Mapping[TopicPartition, CommitPoint]) -> Sequence[Mapping[TopicPartition, CommitPoint]]:
    parts: list[dict[TopicPartition, CommitPoint]] = [{}]
    size = 0
    for partition, point in points.items():
        size += _POINT_BYTES + len(partition.topic) + len(point.metadata)
        if size > COMMIT_BYTES and parts[-1]:
            parts.append({})
            size = _POINT_BYTES + len(partition.topic) + len(point.metadata)
        parts[-1][partition] = point
    return parts
