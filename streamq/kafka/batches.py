"""One batch on its way into a transaction: what was handed over, what is written where, and who is to blame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamq.kafka import records
from streamq.kafka.errors import to_error
from streamq.model.clock import Deadline
from streamq.model.errors import BrokerError, InvariantError, RecordTooLargeError, RetriableError
from streamq.model.records import Offset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Aborted, Batch, Membership

_SHORTEST_S: Final = 0.01
_BACKLOG_S: Final = 0.01
_LOOK_S: Final = 0.1
# What befalls records for another's sake: they say nothing of the cause.
_BYSTANDERS: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_OF_RECORD: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
    }
)
_OF_PARTITION: Final = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    }
)
# librdkafka names the partition in words: "...: topic((null))[3](Broker: Unknown topic or partition) (after 3ms)".
_NAMED: Final = re.compile(r"([a-zA-Z0-9._-]+)(?:\((?:[^()]|\(null\))*\))?\[(\d+)\]\(")


class Sending:
    """Between the begin of a transaction and its end. On the thread that runs it."""

    def __init__(self, producer: Producer, batch: Batch, deadline: Deadline) -> None:
        self._producer = producer
        self._batch = batch
        self._deadline = deadline
        self._reports: dict[int, Offset | KafkaError] = {}

    def hand_over(self) -> bool:
        """Give all records to the client, which sends them meanwhile. False: one is refused at once."""
        for number, outgoing in enumerate(self._batch.records):
            if outgoing.partition is None:
                raise InvariantError(f"a record for {outgoing.topic} in a transaction names no partition")
            refused = self._produce(number, outgoing, outgoing.partition)
            if refused is not None:
                self._reports[number] = refused
                return False
        return True

    def _produce(self, number: int, outgoing: OutgoingRecord, partition: int) -> KafkaError | None:
        while True:
            try:
                self._producer.produce(
                    outgoing.topic,
                    outgoing.value,
                    outgoing.key,
                    partition,
                    partial(self._report, number),
                    timestamp=outgoing.timestamp_ms or 0,
                    headers=list(outgoing.headers),
                )
            except BufferError:
                if self._deadline.expired() or not len(self._producer):
                    return KafkaError(KafkaError._QUEUE_FULL, "the producer's buffer is full")
                self._producer.poll(_BACKLOG_S)
            except KafkaException as error:
                return cast("KafkaError", error.args[0])
            else:
                return None

    def _report(self, number: int, error: KafkaError | None, found: Message) -> None:
        self._reports[number] = Offset(found.offset() or 0) if error is None else error

    def send_points(self, membership: Membership) -> None:
        """Send offsets and metadata, if there are any.

        Raises:
            KafkaException: they are refused.
        """
        if self._batch.points:
            self._producer.send_offsets_to_transaction(
                records.kafka_points(self._batch.points), membership, max(_SHORTEST_S, self._deadline.remaining_s())
            )

    def wait(self) -> None:
        """Wait until all records are decided, or the first is refused."""
        while not (self._is_written() or self._failures() or self._deadline.expired()):
            self._producer.flush(min(_LOOK_S, self._deadline.remaining_s()))

    def _is_written(self) -> bool:
        return len(self._reports) == len(self._batch.records)

    def places(self) -> Sequence[Offset]:
        """Where the records stand, once all are written."""
        found = [self._reports[number] for number in range(len(self._batch.records))]
        return tuple(offset for offset in found if not isinstance(offset, KafkaError))

    # Who is to blame

    def refusal(self) -> Aborted | None:
        """Why this cannot be committed; None if it can."""
        blamed = self.blamed()
        if blamed is None and not self._is_written():
            late = len(self._batch.records) - len(self._reports)
            what = f"{late} of {len(self._batch.records)} records were not confirmed in time"
            return Aborted(RetriableError(what, code="_MSG_TIMED_OUT"))
        return blamed

    def blamed(self) -> Aborted | None:
        """The record or partition that the reports so far blame, or what else they say."""
        self._producer.poll(0)
        failures = self._failures()
        if not failures:
            return None
        number = min(failures, key=lambda number: self._order(number, failures[number]))
        outgoing, error = self._batch.records[number], failures[number]
        place = TopicPartition(outgoing.topic, outgoing.partition or 0)
        typed = self._typed(error, outgoing, place)
        if error.code() in _OF_RECORD or isinstance(typed, RecordTooLargeError):
            return Aborted(typed, number, place)
        return Aborted(typed, None, place if error.code() in _OF_PARTITION else None)

    def _failures(self) -> dict[int, KafkaError]:
        return {
            number: report
            for number, report in self._reports.items()
            if isinstance(report, KafkaError) and report.code() not in _BYSTANDERS
        }

    def _order(self, number: int, error: KafkaError) -> tuple[int, int, int]:
        """A broker refuses records together: the largest is the one that is too large."""
        kind = 0 if error.code() in _OF_RECORD else 1 if error.code() in _OF_PARTITION else 2
        return kind, -_size(self._batch.records[number]), number

    @staticmethod
    def _typed(error: KafkaError, outgoing: OutgoingRecord, place: TopicPartition) -> BrokerError:
        what = f"a record for {place} in a transaction"
        if error.code() == KafkaError._QUEUE_FULL:
            return RecordTooLargeError(
                f"{what}: {_size(outgoing)} bytes do not fit into the producer's buffer: raise the setting "
                "queue.buffering.max.kbytes, or write a smaller one",
                code="MSG_SIZE_TOO_LARGE",
            )
        return to_error(error, what)

    def culprit(self, error: KafkaError) -> TopicPartition | None:
        """The partition whose point was refused."""
        named = _NAMED.search(error.str())
        if named is not None:
            place = TopicPartition(named[1], int(named[2]))
            if place in self._batch.points:
                return place
        if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and self._batch.points:
            return max(self._batch.points, key=lambda place: len(self._batch.points[place].metadata))
        return None


def _size(outgoing: OutgoingRecord) -> int:
    return len(outgoing.value or b"") + len(outgoing.key or b"")
